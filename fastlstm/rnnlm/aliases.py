"""Old names of options: those of char-rnn, char-rnn-tensorflow, word_language_model and AWD-LSTM.

A single dash is char-rnn's (Lua), two are the others'. They are put into today's words before the
command line is read.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

Words = list[str]

RENAMED = {
    "train": {
        "rnn_size": "hidden", "nhid": "hidden", "num_layers": "layers", "nlayers": "layers",
        "emsize": "embedding", "learning_rate": "lr", "seq_length": "window", "bptt": "window",
        "batch_size": "batch", "max_epochs": "epochs", "num_epochs": "epochs", "grad_clip": "clip",
        "val_frac": "valid-fraction", "eval_val_every": "eval-every", "checkpoint_dir": "out",
        "save_dir": "out", "learning_rate_decay_after": "lr-hold", "dropouth": "dropout",
        "dropouti": "dropout-input", "dropoute": "dropout-embedding", "wdrop": "weight-drop",
        "wdecay": "weight-decay", "alpha": "activation-penalty", "beta": "slowness-penalty",
    },
    "sample": {"primetext": "prime", "n": "length", "words": "length"},
}  # fmt: skip
SAME = {"train": ("seed", "dropout"), "sample": ("seed", "length", "temperature")}


def _cell(value: str, lua: bool) -> Words:
    names = {"RNN_TANH": "rnn", "LSTM": "lstm", "GRU": "gru"}
    return ["--cell", names.get(value, value)]


def _decay(value: str, lua: bool) -> Words:
    """learning_rate_decay: once an epoch, 1 for none."""
    if float(value) == 1:
        return ["--lr-decay", "none"]
    return ["--lr-decay", "epoch", "--lr-factor", value]


def _decay_rate(value: str, lua: bool) -> Words:
    """char-rnn's is of RMSprop, char-rnn-tensorflow's of the rate."""
    if not lua:
        return [*_decay(value, lua), "--lr-hold", "1"]
    if float(value) != 0.95:
        raise ValueError(f"-decay_rate must be 0.95, which RMSprop has here, got {value}")
    return []


def _grad_clip(value: str, lua: bool) -> Words:
    """char-rnn clamps each element of a gradient that is summed over the window."""
    return ["--clip", value, *(["--clip-by", "value", "--loss", "sum"] if lua else [])]


def _data_dir(value: str, lua: bool) -> Words:
    text = Path(value, "input.txt")
    return [str(text) if text.exists() else value]


def _init_from(value: str, lua: bool) -> Words:
    raise ValueError(f"init_from: fastlstm resume {value} goes on with a run")


CHANGED: dict[str, Callable[[str, bool], Words]] = {
    "model": _cell, "learning_rate_decay": _decay, "decay_rate": _decay_rate,
    "grad_clip": _grad_clip, "data_dir": _data_dir, "data": _data_dir, "init_from": _init_from,
}  # fmt: skip


def in_todays_words(arguments: Sequence[str]) -> Words:
    """The arguments of a command, its first word, with old names replaced."""
    words = list(arguments)
    command = next((word for word in words if not word.startswith("-")), "")
    if command not in RENAMED:
        return words
    result: Words = []
    while words:
        word = words.pop(0)
        name, equals, value = word.lstrip("-").partition("=")
        dashes, name = len(word) - len(word.lstrip("-")), name.replace("-", "_")
        lua = dashes == 1
        if dashes in (1, 2) and command == "train" and name in CHANGED:
            value = value if equals else words.pop(0) if words else ""
            result += _changed(word, name, value, lua)
        elif name in RENAMED[command] and (dashes == 1 or (dashes == 2 and len(name) > 1)):
            result.append(f"--{RENAMED[command][name]}{equals}{value}")
        elif lua and name in SAME[command]:
            result.append(f"-{word}")
        else:
            result.append(word)
    return result


def _changed(word: str, name: str, value: str, lua: bool) -> Words:
    if not value:
        raise ValueError(f"{word} needs a value")
    try:
        return CHANGED[name](value, lua)
    except ValueError as error:
        if "could not convert" in str(error):
            raise ValueError(f"{word} must be a number, got {value!r}") from error
        raise
