"""The `fastlstm` command: a thin shell over functions that also work without it.

Exit codes: 0 done, 1 a check failed, 2 wrong input or machine (one line says what), 130 stopped.
"""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from fastlstm import __version__
from fastlstm.rnnlm.aliases import in_todays_words
from fastlstm.rnnlm.arguments import add_commands
from fastlstm.rnnlm.distributed import is_first_failure, leave
from fastlstm.rnnlm.preset_arguments import add_presets

# command: (module with add_arguments(parser) and run(args), summary)
MODULES = {
    "bench": ("fastlstm.bench.command", "time fastlstm against torch.nn.LSTM and others"),
    "verify": ("fastlstm.verify", "check fastlstm's kernels against torch.nn.LSTM, or a preset"),
    "info": ("fastlstm.info", "what this machine would run, and why"),
}


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; takes options by their full names only."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**({"allow_abbrev": False} | settings))

    def error(self, message: str) -> NoReturn:
        """Leave with exit code 2."""
        text = f"{self.prog}: error: {message} (see {self.prog} --help)\n"
        self.exit(2, text if is_first_failure() else None)


def make_parser(command: str | None) -> Parser:
    """The parser; of `MODULES`, only the one named by `command` is imported."""
    parser = Parser(prog="fastlstm", description="A drop-in nn.LSTM on custom kernels.")
    parser.add_argument("--version", action="version", version=f"fastlstm {__version__}")
    parser.add_argument(
        "--traceback", action="store_true", help="show where an error comes from, not only what"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    add_commands(commands)
    for name, (module, summary) in MODULES.items():
        subparser = commands.add_parser(name, help=summary, description=summary + ".")
        if name == command:
            implementation = import_module(module)
            implementation.add_arguments(subparser)
            subparser.set_defaults(run=implementation.run)
            if name == "verify":
                add_presets(subparser, implementation.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (argparse raises SystemExit for wrong arguments)."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that cannot show all text shows ?
        sys.stdout.reconfigure(errors="replace")
    arguments = sys.argv[1:] if argv is None else list(argv)
    command = next((word for word in arguments if not word.startswith("-")), None)
    try:
        arguments = in_todays_words(arguments)
    except ValueError as error:
        _print_error(error)
        return 2
    args = make_parser(command).parse_args(arguments)
    try:
        code: int = args.run(args)
        leave()
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever read our output has seen enough
        is_first_failure()  # what the other processes make of it is no news
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except (ValueError, RuntimeError, OSError, MemoryError) as error:
        if args.traceback:
            raise
        _print_error(error)
        return 2


def _print_error(error: Exception) -> None:
    """One line; of processes that train together, the first to fail has the cause."""
    if is_first_failure():
        said = str(error) or "not enough memory"  # a MemoryError says nothing
        print("fastlstm: error:", " ".join(said.split()), file=sys.stderr)
