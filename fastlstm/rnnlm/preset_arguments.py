"""`fastlstm verify PRESET`: a published run, and whether it is reached."""

import argparse
from collections.abc import Callable

from fastlstm.rnnlm.arguments import _command
from fastlstm.rnnlm.presets import PRESETS


def add_presets(
    parser: argparse.ArgumentParser, kernels: Callable[[argparse.Namespace], int]
) -> None:
    """Let `verify` take a preset; without one it stays what it is, `kernels`."""
    parser.add_argument(
        "preset",
        nargs="?",
        metavar="PRESET",
        choices=tuple(PRESETS),
        help=f"train a published run instead, and compare its figure: {', '.join(PRESETS)}",
    )
    group = parser.add_argument_group("with a preset")
    group.add_argument(
        "text",
        nargs="?",
        metavar="TEXT",
        default=argparse.SUPPRESS,
        help="its text (without it is said where that is from)",
    )
    group.add_argument("--out", metavar="RUN", help="run folder (default runs/TEXT-TIME)")
    group.add_argument(
        "--epochs", type=float, default=argparse.SUPPRESS, help="shorter than published"
    )
    group.add_argument("--threads", type=int, default=argparse.SUPPRESS, help="CPU threads")

    def run(args: argparse.Namespace) -> int:
        if args.preset is None:
            return kernels(args)
        names = ("preset", "text", "out", "epochs", "threads")
        given = {name: getattr(args, name) for name in names if hasattr(args, name)}
        return _command("train")(
            argparse.Namespace(**given, verify=False, folds=None, stop_after=None, judge=True)
        )

    parser.set_defaults(run=run)
