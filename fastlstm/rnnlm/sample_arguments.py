"""The arguments of `fastlstm sample`."""

import argparse

from fastlstm.rnnlm.common_arguments import add_checkpoint, add_run, not_empty


def add_sample(parser: argparse.ArgumentParser) -> None:
    """All of them."""
    add_run(parser)
    _add_prime(parser.add_argument_group("prompt"))
    _add_choice(parser.add_argument_group("which token comes next"))
    group = parser.add_argument_group("how much")
    group.add_argument(
        "--length", type=int, default=500, metavar="INT", help="tokens to write (default 500)"
    )
    group.add_argument(
        "--stop",
        action="append",
        default=[],
        type=not_empty,
        metavar="TEXT",
        help="end before this text; may be given several times; \\n stands for a line end",
    )
    group.add_argument(
        "--samples", type=int, default=1, metavar="INT", help="texts to write (default 1)"
    )
    add_checkpoint(parser)


def _add_prime(group: argparse._ArgumentGroup) -> None:
    one = group.add_mutually_exclusive_group()
    one.add_argument("--prime", default="", metavar="TEXT", help="text to go on from")
    one.add_argument(
        "--prime-file",
        type=not_empty,
        metavar="FILE",
        help="a file with the text to go on from, taken as it is; - is standard input",
    )


def _add_choice(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--temperature",
        type=float,
        default=1.0,
        metavar="FLOAT",
        help="1 as the model believes, less for the likelier, 0 the likeliest only (default 1)",
    )
    group.add_argument(
        "--top-k", type=int, metavar="INT", help="only one of the INT likeliest (default any)"
    )
    group.add_argument(
        "--top-p",
        type=float,
        metavar="FLOAT",
        help="only one of the fewest that together have this probability (default any)",
    )
    group.add_argument(
        "--beam",
        type=int,
        metavar="INT",
        help="no chance: search the likeliest whole text, keeping INT at each step; --samples "
        "shows as many of them",
    )
    group.add_argument("--no-unknown", action="store_true", help="never write <unk>")
    group.add_argument(
        "--seed",
        type=int,
        default=123,
        metavar="INT",
        help="of the first sample, the next one has the next (default 123)",
    )
