"""Everything a run depends on: one frozen dataclass, saved with the run.

Each field is also a command-line option; its help, range and default stand once, in the file of its
group.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from fastlstm.rnnlm.combinations import check_combinations
from fastlstm.rnnlm.model_options import ModelOptions
from fastlstm.rnnlm.option import check, flag
from fastlstm.rnnlm.presets import PRESETS
from fastlstm.rnnlm.text_options import TextOptions
from fastlstm.rnnlm.training_options import TrainingOptions


@dataclass(frozen=True)
class Config(TrainingOptions, ModelOptions, TextOptions):
    """Everything a run depends on; a value out of its range raises ValueError, naming the option.

    The defaults are char-rnn's (2 x 128, batch 50, window 50, clip 5) with Adam at 1e-2 and a
    cosine decay to the end of the run, which at this size learns faster than its 2e-3 without;
    wider models want less. `FRANCE` holds what that corpus changes.
    """

    def __post_init__(self) -> None:
        for option in fields(self):
            check(option, getattr(self, option.name))
        check_combinations(self)

    @property
    def embedding_size(self) -> int:
        """Size of the embedding: as many as hidden units unless asked otherwise; 0: none."""
        return self.hidden if self.embedding is None else self.embedding

    def windows_per_epoch(self, tokens: int) -> int:
        """How many windows a training text of `tokens` tokens gives: the steps of an epoch,
        or where their lengths are drawn about how many."""
        stream = tokens // self.batch
        if self.windows == "fixed":
            return stream // self.window
        # 19 of 20 are near --window, one near half of it
        return max(1, round(stream / (0.975 * self.window)))

    def total_steps(self, steps_per_epoch: int) -> int:
        """Length of the run in steps (windows), at least one."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return max(1, round(self.epochs * steps_per_epoch))

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Config":
        """The inverse of `to_json`; ValueError for unknown or wrong fields.

        A missing one is of a run from before there was that option: it has its default, which does
        what that version did.
        """
        unknown = sorted(set(values) - {option.name for option in fields(cls)})
        if unknown:
            raise ValueError(f"unknown options: {', '.join(unknown)}")
        return cls(**values)


FRANCE: Mapping[str, Any] = {
    "level": "word",
    "layers": 1,
    # documents are independent: any part is like any other
    "valid_pieces": 1,
    # many small steps: with batch 32 the country is not found in minutes
    "batch": 8,
    "window": 64,
    "steps": 6000,
    # so small a batch gains little from a second core, and loses much where that is not free
    "threads": 1,
}

GENERATED = ("france", "markov", "dyck")  # texts that FRANCE is for

VERIFY_STEPS = 200

# what the help says where the default is no plain number
COMPUTED_DEFAULTS: Mapping[str, str] = {
    "embedding": "as many as --hidden",
    "eval_every": "a tenth of the run; an epoch where stalls count",
    "init_range": "torch's own ranges",
    "init_embedding": "0.1 with --tied, else as the others",
    "early_stop": "none",
    "time_budget": "none",
    "threads": "torch's choice; france 1",
    "device": "auto: cuda where there is one",
    "cache": "$FASTLSTM_CACHE, ~/.cache/fastlstm",
}


def make_config(given: Mapping[str, Any], verify: bool = False) -> Config:
    """The config of a run: what was `given`, its preset's, the corpus's own, or the general ones.

    `verify` shortens the default run to `VERIFY_STEPS`.
    """
    values: dict[str, Any] = dict(FRANCE) if given.get("text") in GENERATED else {}
    if given.get("preset") is not None:
        values |= PRESETS[given["preset"]].options
        if "steps" in given or "epochs" in given:
            values.pop("epochs", None)
            values.pop("steps", None)
    if verify:
        values.pop("epochs", None)
        values["steps"] = VERIFY_STEPS
    if ("epochs" in given or "epochs" in values) and "steps" not in given:
        values["steps"] = None
    return Config(**(values | dict(given)))


def differing(config: Config) -> list[str]:
    """Options of a run with a preset that are not the preset's, but those that change no result."""
    own = make_config({"preset": config.preset, "text": config.text})
    free = {"threads", "device", "backend", "implementation", "tensorboard", "eval_every", "spike"}
    names = (option.name for option in fields(Config))
    counted = [name for name in names if name not in free]
    return [flag(name) for name in counted if getattr(config, name) != getattr(own, name)]
