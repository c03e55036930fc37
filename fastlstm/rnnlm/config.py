"""Everything a run depends on: one frozen dataclass, saved with the run.

Each field is also a command-line option; its help, range and default stand here, once.
"""

import math
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from typing import Any


def _option(
    default: int | float | str | None,
    text: str,
    kind: type,
    *,
    choices: tuple[str, ...] = (),
    at_least: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Any:
    """A field with the help and the range of its option."""
    rule = {"choices": choices, "at_least": at_least, "above": above, "below": below}
    return field(default=default, metadata={"help": text, "kind": kind, **rule})


SEEDS = 2**63  # all that fit into a signed word


@dataclass(frozen=True)
class Config:
    """Everything a run depends on; a value out of its range raises ValueError, naming the option.

    The defaults are char-rnn's (2 x 128, batch 50, window 50, clip 5) with Adam at 1e-2 and a
    cosine decay to the end of the run, which at this size learns faster than its 2e-3 without;
    wider models want less. `FRANCE` holds what that corpus changes.
    """

    text: str = _option("stdlib", "a text file, 'stdlib' or 'france'", str)
    level: str = _option("byte", "what a token is", str, choices=("byte", "char", "word"))
    vocab_size: int = _option(
        10_000, "most tokens in a char or word vocabulary; the others are <unk>", int, at_least=3
    )
    valid_fraction: float = _option(
        0.05, "part of the text held back for validation", float, above=0, below=1
    )
    valid_limit: int = _option(100_000, "most bytes held back for validation", int, at_least=1)
    valid_pieces: int = _option(
        20, "equal stretches of the text whose ends are held back; 1: its tail", int, at_least=1
    )
    france_docs: int = _option(20_000, "documents of the france corpus", int, at_least=2)
    france_distance: float = _option(
        2.0,
        "mean number of sentences between country and language in france",
        float,
        at_least=0,
        below=1000,
    )
    cell: str = _option("lstm", "recurrent layer", str, choices=("lstm", "gru", "rnn"))
    hidden: int = _option(128, "units per layer", int, at_least=1)
    layers: int = _option(2, "recurrent layers", int, at_least=1)
    embedding: int | None = _option(None, "size of the token embedding", int, at_least=1)
    dropout: float = _option(
        0.0, "dropout between the layers, as nn.LSTM's", float, at_least=0, below=1
    )
    dropout_input: float = _option(0.0, "dropout on the embedding", float, at_least=0, below=1)
    dropout_output: float = _option(0.0, "dropout before the decoder", float, at_least=0, below=1)
    forget_bias: float = _option(1.0, "initial bias of the LSTM's forget gates", float)
    implementation: str = _option(
        "fastlstm", "whose LSTM layer trains", str, choices=("fastlstm", "torch")
    )
    backend: str = _option(
        "auto", "fastlstm's backend", str, choices=("auto", "cpu", "aten", "reference")
    )
    batch: int = _option(50, "parallel streams of text", int, at_least=1)
    window: int = _option(50, "tokens per window of truncated BPTT", int, at_least=1)
    steps: int | None = _option(2000, "length of the run in windows", int, at_least=1)
    epochs: float | None = _option(
        None, "length of the run in passes over the text, instead of --steps", float, above=0
    )
    optimizer: str = _option("adam", "optimizer", str, choices=("adam", "rmsprop", "sgd"))
    lr: float = _option(1e-2, "learning rate at the start", float, above=0)
    lr_decay: str = _option(
        "cosine",
        "decay of the learning rate, to 1%% at the end of the run",
        str,
        choices=("cosine", "linear", "none"),
    )
    clip: float = _option(5.0, "largest global norm of the gradient", float, above=0)
    eval_every: int | None = _option(None, "steps between validations", int, at_least=1)
    seed: int = _option(123, "seed of the weights and of dropout", int, at_least=0, below=SEEDS)
    threads: int | None = _option(None, "CPU threads", int, at_least=1)
    device: str = _option("auto", "where to compute", str, choices=("auto", "cpu", "cuda"))

    def __post_init__(self) -> None:
        for option in fields(self):
            _check(option, getattr(self, option.name))
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either --steps or --epochs, not both")

    @property
    def embedding_size(self) -> int:
        """Size of the embedding: as many as hidden units unless asked otherwise."""
        return self.hidden if self.embedding is None else self.embedding

    def windows_per_epoch(self, tokens: int) -> int:
        """How many windows a training text of `tokens` tokens gives: the steps of an epoch."""
        return tokens // self.batch // self.window

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
        """The inverse of `to_json`; ValueError for missing, unknown or wrong fields."""
        names = {option.name for option in fields(cls)}
        if set(values) != names:
            odd = sorted(names ^ set(values))
            raise ValueError(f"missing or unknown options: {', '.join(odd)}")
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

VERIFY_STEPS = 200

# what the help says where the default is no plain number
COMPUTED_DEFAULTS: Mapping[str, str] = {
    "embedding": "as many as --hidden",
    "eval_every": "a tenth of the run",
    "threads": "torch's choice; france 1",
    "device": "auto: cuda where there is one",
}


def make_config(given: Mapping[str, Any], verify: bool = False) -> Config:
    """The config of a run: what was `given`, then the corpus's own defaults, then the general ones.

    `verify` shortens the default run to `VERIFY_STEPS`.
    """
    values: dict[str, Any] = dict(FRANCE) if given.get("text") == "france" else {}
    if verify:
        values["steps"] = VERIFY_STEPS
    if "epochs" in given and "steps" not in given:
        values["steps"] = None
    return Config(**(values | dict(given)))


def flag(name: str) -> str:
    """The command-line spelling of a field."""
    return "--" + name.replace("_", "-")


def _check(option: "Field[Any]", value: object) -> None:
    """Raise ValueError unless `value` is of the field's kind and in its range."""
    if value is None and option.default is None:
        return
    if value is None and option.name == "steps":  # --epochs takes its place
        return
    name, rule = flag(option.name), option.metadata
    if rule["kind"] is str:
        if not isinstance(value, str) or (rule["choices"] and value not in rule["choices"]):
            raise ValueError(f"{name} must be one of {', '.join(rule['choices'])}, got {value!r}")
        return
    kinds = (int,) if rule["kind"] is int else (int, float)
    if not isinstance(value, kinds) or isinstance(value, bool) or not math.isfinite(value):
        noun = "a whole number" if rule["kind"] is int else "a finite number"
        raise ValueError(f"{name} must be {noun}, got {value!r}")
    if rule["at_least"] is not None and value < rule["at_least"]:
        raise ValueError(f"{name} must be at least {rule['at_least']}, got {value}")
    if rule["above"] is not None and value <= rule["above"]:
        raise ValueError(f"{name} must be above {rule['above']}, got {value}")
    if rule["below"] is not None and value >= rule["below"]:
        raise ValueError(f"{name} must be below {rule['below']}, got {value}")
