"""The arguments of `fastlstm inspect`, beside those that other commands have too."""

import argparse
from collections.abc import Callable

VIEWS = ("curves", "context", "gates", "units", "gradients", "spectrum", "saturation", "distance")


def add_views(parser: argparse.ArgumentParser, not_empty: Callable[[str], str]) -> None:
    """Add which views to draw, and of what."""
    parser.add_argument(
        "views",
        nargs="*",
        type=_view,
        metavar="VIEW",
        help=f"right after RUN: {', '.join(VIEWS)} (default all that suit the run)",
    )
    text = parser.add_mutually_exclusive_group()
    text.add_argument(
        "--text", help="text to look at (default the validation part; for gates a sentence)"
    )
    text.add_argument("--file", type=not_empty, help="the same from a file, - for standard input")
    parser.add_argument(
        "--layer", type=int, metavar="INT", help="layer to look at, from 0 (default the last)"
    )
    parser.add_argument(
        "--unit", type=int, metavar="INT", help="unit to look at, from 0 (default the best ones)"
    )
    parser.add_argument(
        "--beside",
        action="append",
        default=[],
        type=not_empty,
        metavar="RUN",
        help="a run to compare with in curves, context, gradients and distance; may be given again",
    )
    parser.add_argument(
        "--out",
        type=not_empty,
        metavar="FOLDER",
        help="where report and pictures go (default RUN/inspect)",
    )
    parser.add_argument(
        "--font",
        type=not_empty,
        metavar="FILE",
        help="font for words that the usual one cannot draw (default one that is installed)",
    )


def _view(name: str) -> str:
    if name not in VIEWS:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(VIEWS)}")
    return name
