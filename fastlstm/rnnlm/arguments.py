"""The command-line arguments of the trainer.

Of the trainer only its options are imported, so that help needs none of what fastlstm[train] adds.
"""

import argparse
from collections.abc import Callable
from dataclasses import Field, fields
from importlib import import_module
from typing import Any

from fastlstm.rnnlm.common_arguments import add_checkpoint, add_machine, add_run, not_empty
from fastlstm.rnnlm.config import COMPUTED_DEFAULTS, FRANCE, VERIFY_STEPS, Config
from fastlstm.rnnlm.distributed import launched
from fastlstm.rnnlm.eval_arguments import add_eval
from fastlstm.rnnlm.inspect.arguments import add_views
from fastlstm.rnnlm.model_options import ModelOptions
from fastlstm.rnnlm.option import flag
from fastlstm.rnnlm.sample_arguments import add_sample
from fastlstm.rnnlm.text_options import TextOptions
from fastlstm.rnnlm.training_options import TrainingOptions

GROUPS = {"text": TextOptions, "model": ModelOptions, "training": TrainingOptions}
# what fastlstm[train] adds
EXTRA = {
    "jieba", "matplotlib", "numpy", "rich", "safetensors", "tensorboard", "tokenizers", "zstandard",
}  # fmt: skip
MODULES = {"eval": "eval_command", "sample": "sample_command"}  # the others are in `commands`
TOGETHER = ("train", "resume")  # what several processes can do


def add_commands(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add train, resume, eval, sample and inspect."""
    for name, summary, add in (
        ("train", "train a language model on a text", _add_train),
        ("resume", "go on with a run, bit for bit", _add_resume),
        ("eval", "loss, perplexity and bits per character of a run on a text", add_eval),
        ("sample", "let a run write", add_sample),
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
        if name not in TOGETHER and launched():
            raise ValueError(f"{name} runs in one process: start it without torchrun")
        try:
            commands = import_module(f"fastlstm.rnnlm.{MODULES.get(name, 'commands')}")
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
        type=not_empty,
        default=argparse.SUPPRESS,
        metavar="TEXT",
        help="a text file (.gz, .zst and .jsonl too), or a folder with a file each for train, "
        "valid and test; 'stdlib', the source of Python's standard library (default); 'hf:NAME', "
        "by the library datasets; or 'france', 'markov' or 'dyck', generated, whose best possible "
        "perplexity is known",
    )
    parser.add_argument(
        "--out", type=not_empty, metavar="RUN", help="run folder (default runs/TEXT-TIME)"
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="train beside torch.nn.LSTM, compare every step, save nothing "
        f"(default {VERIFY_STEPS} steps)",
    )
    parser.add_argument(
        "--folds",
        type=int,
        metavar="INT",
        help="cross-validate: cut the text into INT stretches, train INT times, each time with "
        "another one held back; show mean and spread, save nothing",
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
    add_run(parser)
    parser.add_argument(
        "--steps", type=int, metavar="INT", help="new length of the run; stretches its lr decay"
    )
    _add_stop_after(parser)
    add_machine(parser, "the run's")


def _add_stop_after(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--stop-after",
        type=int,
        metavar="STEP",
        help="stop at this step, saved, as Ctrl-C would; resume goes on",
    )


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_views(parser, not_empty)
    add_checkpoint(parser)
