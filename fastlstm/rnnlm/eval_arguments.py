"""The arguments of `fastlstm eval`."""

import argparse

from fastlstm.rnnlm.common_arguments import add_checkpoint, add_run, not_empty


def add_eval(parser: argparse.ArgumentParser) -> None:
    """All of them."""
    add_run(parser)
    parser.add_argument(
        "text",
        nargs="?",
        type=not_empty,
        metavar="TEXT",
        help="text file (default the run's validation part)",
    )
    parser.add_argument(
        "--part",
        choices=("train", "valid", "test"),
        help="part of the run's own text, in place of TEXT (default valid)",
    )
    add_checkpoint(parser)
    group = parser.add_argument_group("what else to show")
    group.add_argument(
        "--baselines",
        action="store_true",
        help="beside the model: unigram, bigram, Kneser-Ney 5-gram, gzip, xz, the known optimum",
    )
    group.add_argument(
        "--scores",
        type=not_empty,
        metavar="FILE",
        help="write a table of all tokens, tab-separated: place, token, nats, bits; - is "
        "standard output",
    )
    group.add_argument(
        "--context",
        type=int,
        metavar="INT",
        help="loss of a token predicted from only 1, 2, 4, ... INT tokens before it; with "
        "--baselines beside n-grams of the same context",
    )
    _add_dynamic(parser.add_argument_group("a model that goes on learning (Krause et al., 2018)"))
    _add_cache(parser.add_argument_group("a model with a cache of the text (Grave et al., 2017)"))
    _add_nbest(parser.add_argument_group("ordering texts of another system"))


def _add_dynamic(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--dynamic",
        type=float,
        metavar="LR",
        help="learn from each segment once it was paid for, at this rate (try 0.02; rms 3e-5)",
    )
    group.add_argument(
        "--dynamic-rule",
        choices=("sgd", "rms"),
        default="sgd",
        help="plain steps, or steps divided by the root mean square gradient of the training text "
        "(default sgd)",
    )
    group.add_argument(
        "--dynamic-decay",
        type=float,
        default=0.0,
        metavar="FLOAT",
        help="part of the way back to the trained weights at each step (default 0)",
    )
    group.add_argument(
        "--dynamic-segment",
        type=int,
        default=20,
        metavar="INT",
        help="tokens between two steps (default 20)",
    )


def _add_cache(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--cache", type=int, metavar="INT", help="remember the last INT tokens (try 500)"
    )
    group.add_argument(
        "--cache-theta",
        type=float,
        default=0.3,
        metavar="FLOAT",
        help="how much a similar state counts; 0: all alike (default 0.3)",
    )
    group.add_argument(
        "--cache-lambda",
        type=float,
        default=0.1,
        metavar="FLOAT",
        help="share of the cache in the probability (default 0.1)",
    )


def _add_nbest(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--nbest",
        type=not_empty,
        metavar="FILE",
        help="a text in each line, or its score, a tab and the text; empty lines part lists; - is "
        "standard input. Prints each list sorted: total, the model's ln p, (score,) text",
    )
    group.add_argument(
        "--nbest-weight",
        type=float,
        default=1.0,
        metavar="FLOAT",
        help="total = score + FLOAT * ln p (default 1)",
    )
