"""A checkpoint's file: tensors, and JSON of a known form; nothing in it is code.

A file that is read is held to the sha256 of all that was saved, to its run and vocabulary, and, as
that keeps nobody from making one, to the kind of each value.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fastlstm.rnnlm.durable import write_atomically
from fastlstm.rnnlm.runs import Run

# what the names of generators' states begin with, and of the carried state
RNG, STATE = "rng.", "state."
INTEGERS = {"model.reset_token": torch.int64}


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


# what a checkpoint holds of a `Training` beside tensors, by field; older ones have not all
KINDS: dict[str, Callable[[Any], bool]] = {
    "position": lambda value: value is None or _is_count(value),
    "epoch": _is_count,
    "lr": _is_number,
    "lr_scale": _is_number,
    "valid_losses": lambda value: isinstance(value, list) and all(map(_is_number, value)),
    "waited": _is_count,
    "stalls": _is_count,
    "seconds": _is_number,
    "ended": lambda value: isinstance(value, str),
    "bad_in_a_row": _is_count,
    "returns": _is_count,
    "good_step": _is_count,
    "mean": lambda value: value is None or _is_count(value),
}


@dataclass(frozen=True)
class Progress:
    """How far a run was: steps, the best validation loss, and what `KINDS` names.

    more: without the fields that an older version did not save.
    """

    step: int
    best_loss: float
    best_step: int
    more: dict[str, Any]


def write_checkpoint(
    run: Run, name: str, tensors: Mapping[str, Tensor], progress: Progress
) -> None:
    """Write NAME.safetensors of a run."""
    on_cpu = {key: tensor.detach().contiguous().cpu() for key, tensor in tensors.items()}
    values = {
        "step": str(progress.step),
        "best_loss": repr(progress.best_loss),  # repr: reads back as the same float
        "best_step": str(progress.best_step),
        "more": json.dumps(progress.more),
        "vocabulary": run.fingerprint,
        "run_id": run.id,
    }
    values["sha256"] = digest_of(on_cpu, values)
    write_atomically(run.path / f"{name}.safetensors", save(on_cpu, metadata=values))


def read_checkpoint(run: Run, name: str) -> tuple[dict[str, Tensor], Progress]:
    """The tensors and the progress that NAME.safetensors of a run holds.

    ValueError where there is none, where it is damaged, and where it is of another run.
    """
    path = run.path / f"{name}.safetensors"
    if not path.exists():
        raise ValueError(f"{run.path} has no {name} checkpoint: it stopped before its first save")
    try:
        with safe_open(path, framework="pt") as file:
            # cloned: memory of the file itself would end the process if somebody cut the file off
            tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
            values: dict[str, str] = file.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if values.get("vocabulary") != run.fingerprint:
        raise ValueError(f"{path} is of another vocabulary than {run.path} holds")
    if values.get("run_id") != run.id:
        raise ValueError(f"{path} belongs to another run than {run.path / 'config.json'}")
    if values.pop("sha256", None) != digest_of(tensors, values):
        raise ValueError(f"{path} is damaged: its sha256 is not that of what was saved")
    _check_types(path, tensors)
    try:
        return tensors, _read_progress(values)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: its progress is of another form: {error}") from error


def digest_of(tensors: Mapping[str, Tensor], values: Mapping[str, str]) -> str:
    """Sha256 of all that a checkpoint holds: names, types, shapes, bytes and progress."""
    digest = hashlib.sha256(json.dumps(dict(sorted(values.items()))).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check_types(path: Path, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        wanted = torch.uint8 if name.startswith(RNG) else INTEGERS.get(name, torch.float32)
        narrow = name.startswith(STATE) and tensor.dtype is torch.bfloat16  # --precision bf16
        if tensor.dtype is not wanted and not narrow:
            raise ValueError(f"{path} is damaged: {name} must be {wanted}, got {tensor.dtype}")


def _read_progress(values: Mapping[str, str]) -> Progress:
    """ValueError, KeyError or TypeError where `values` are not those of `write_checkpoint`."""
    step, best_step = int(values["step"]), int(values["best_step"])
    best_loss, more = float(values["best_loss"]), json.loads(values.get("more", "{}"))
    if not (_is_count(step) and _is_count(best_step) and best_loss >= 0):
        raise ValueError("step, best_step and best_loss must be at least 0")
    if not isinstance(more, dict):
        raise ValueError("more is no object")
    for name, value in more.items():
        if name not in KINDS or not KINDS[name](value):
            raise ValueError(f"{name} is {str(value)[:50]!r}")
    return Progress(step, best_loss, best_step, more)
