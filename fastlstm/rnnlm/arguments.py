"""The command-line arguments of the trainer.

Of the trainer only its options are imported, so that help needs none of what fastlstm[train] adds.
"""

import argparse
from collections.abc import Callable
from dataclasses import Field, fields
from importlib import import_module
from typing import Any

from fastlstm.rnnlm.config import COMPUTED_DEFAULTS, FRANCE, VERIFY_STEPS, Config
from fastlstm.rnnlm.inspect.arguments import add_views
from fastlstm.rnnlm.model_options import ModelOptions
from fastlstm.rnnlm.option import flag
from fastlstm.rnnlm.text_options import TextOptions
from fastlstm.rnnlm.training_options import TrainingOptions

GROUPS = {"text": TextOptions, "model": ModelOptions, "training": TrainingOptions}
# what fastlstm[train] adds
EXTRA = {
    "jieba", "matplotlib", "numpy", "rich", "safetensors", "tensorboard", "tokenizers", "zstandard",
}  # fmt: skip


def add_commands(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add train, resume, eval, sample and inspect."""
    for name, summary, add in (
        ("train", "train a language model on a text", _add_train),
        ("resume", "go on with a run, bit for bit", _add_resume),
        ("eval", "loss, perplexity and bits per character of a run on a text", _add_eval),
        ("sample", "let a run write", _add_sample),
        ("inspect", "draw what a run learnt, and how: a report and pictures", _add_inspect),
    ):
        parser = commands.add_parser(name, help=summary, description=summary.capitalize() + ".")
        add(parser)
        parser.set_defaults(run=_command(name))


def given_options(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of Config that were given on the command line."""
    names = (option.name for option in fields(Config))
    return {name: getattr(args, name) for name in names if hasattr(args, name)}


def _command(name: str) -> Callable[[argparse.Namespace], int]:
    """A command that imports the trainer only when it runs, and says what it lacks."""

    def run(args: argparse.Namespace) -> int:
        try:
            commands = import_module("fastlstm.rnnlm.commands")
            code: int = getattr(commands, f"run_{name}")(args)
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if missing not in EXTRA:
                raise
            raise RuntimeError(
                f"the trainer needs {missing}: pip install 'fastlstm[train]'"
            ) from error
        return code

    return run


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "text",
        nargs="?",
        type=_not_empty,
        default=argparse.SUPPRESS,
        metavar="TEXT",
        help="a text file (.gz, .zst and .jsonl too), or a folder with a file each for train, "
        "valid and test; 'stdlib', the source of Python's standard library (default); 'hf:NAME', "
        "by the library datasets; or 'france', 'markov' or 'dyck', generated, whose best possible "
        "perplexity is known",
    )
    parser.add_argument(
        "--out", type=_not_empty, metavar="RUN", help="run folder (default runs/TEXT-TIME)"
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="train beside torch.nn.LSTM, compare every step, save nothing "
        f"(default {VERIFY_STEPS} steps)",
    )
    _add_stop_after(parser)
    parser.set_defaults(judge=False)
    for title, options in GROUPS.items():
        group = parser.add_argument_group(title)
        for option in fields(options):
            if option.name == "text":
                continue
            _add_option(group, option)


def _add_option(group: "argparse._ArgumentGroup", option: "Field[Any]") -> None:
    """One field of a run's config; what is not given is left to `make_config`."""
    rule = option.metadata
    text = f"{rule['help']}{_default_text(option.name, option.default)}"
    if rule["kind"] is bool:
        switch = argparse.BooleanOptionalAction
        group.add_argument(
            flag(option.name), action=switch, default=argparse.SUPPRESS, help=rule["help"]
        )
        return
    group.add_argument(
        flag(option.name),
        type=rule["kind"],
        choices=rule["choices"] or None,
        default=argparse.SUPPRESS,
        metavar=None if rule["choices"] else rule["kind"].__name__.upper(),
        help=text,
    )


def _default_text(name: str, default: object) -> str:
    """How the help names a default."""
    if name in COMPUTED_DEFAULTS:
        return f" (default {COMPUTED_DEFAULTS[name]})"
    if default is None:
        return ""
    france = f"; france {FRANCE[name]}" if name in FRANCE else ""
    return f" (default {default}{france})"


def _add_resume(parser: argparse.ArgumentParser) -> None:
    _add_run(parser)
    parser.add_argument(
        "--steps", type=int, metavar="INT", help="new length of the run; stretches its lr decay"
    )
    _add_stop_after(parser)
    _add_machine(parser, "the run's")


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_path", type=_not_empty, metavar="RUN", help="run folder")


def _add_machine(parser: argparse.ArgumentParser, threads: str) -> None:
    """Options of where to compute, which are of this sitting and not saved with the run."""
    parser.add_argument(
        "--threads", type=int, metavar="INT", help=f"CPU threads (default {threads})"
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        help="where to compute, whatever the run was saved with (default the run's)",
    )


def _not_empty(name: str) -> str:
    """The type of a file name: an empty one is the mistake of an unset shell variable."""
    if not name:
        raise argparse.ArgumentTypeError("must not be empty")
    return name


def _add_stop_after(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--stop-after",
        type=int,
        metavar="STEP",
        help="stop at this step, saved, as Ctrl-C would; resume goes on",
    )


def _add_eval(parser: argparse.ArgumentParser) -> None:
    _add_run(parser)
    parser.add_argument(
        "text",
        nargs="?",
        type=_not_empty,
        metavar="TEXT",
        help="text file (default the run's validation part)",
    )
    parser.add_argument(
        "--part",
        choices=("train", "valid", "test"),
        help="part of the run's own text, in place of TEXT (default valid)",
    )
    _add_checkpoint(parser)


def _add_sample(parser: argparse.ArgumentParser) -> None:
    _add_run(parser)
    parser.add_argument("--prime", default="", help="text to go on from (default none)")
    parser.add_argument(
        "--length", type=int, default=500, metavar="INT", help="tokens to write (default 500)"
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=1.0,
        metavar="FLOAT",
        help="1 as the model believes, less for the likelier, 0 the likeliest only (default 1)",
    )
    parser.add_argument("--seed", type=int, default=123, metavar="INT", help="(default 123)")
    _add_checkpoint(parser)


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    _add_run(parser)
    add_views(parser, _not_empty)
    _add_checkpoint(parser)


def _add_checkpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint",
        choices=("best", "last"),
        default="best",
        help="weights of the best validation loss, or the last ones (default best)",
    )
    _add_machine(parser, "torch's choice")
