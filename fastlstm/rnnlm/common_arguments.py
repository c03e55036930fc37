"""Arguments that several of the trainer's commands share."""

import argparse


def add_run(parser: argparse.ArgumentParser) -> None:
    """The run folder."""
    parser.add_argument("run_path", type=not_empty, metavar="RUN", help="run folder")


def add_machine(parser: argparse.ArgumentParser, threads: str) -> None:
    """Options of where to compute, which are of this sitting and not saved with the run."""
    parser.add_argument(
        "--threads", type=int, metavar="INT", help=f"CPU threads (default {threads})"
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        help="where to compute, whatever the run was saved with (default the run's)",
    )


def not_empty(name: str) -> str:
    """The type of a file name: an empty one is the mistake of an unset shell variable."""
    if not name:
        raise argparse.ArgumentTypeError("must not be empty")
    return name


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Which weights, and the machine."""
    parser.add_argument(
        "--checkpoint",
        choices=("best", "last"),
        default="best",
        help="weights of the best validation loss, or the last ones (default best)",
    )
    add_machine(parser, "torch's choice")
