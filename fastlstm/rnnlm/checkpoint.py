"""Checkpoints: weights, and all that it takes to go on bit for bit, as safetensors."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fastlstm.rnnlm.model import RNNLM
from fastlstm.rnnlm.runs import Run, write_atomically
from fastlstm.rnnlm.training import Training

MODEL, OPTIMIZER, STATE, RNG = "model.", "optimizer.", "state.", "rng."


def save_best(run: Run, training: Training) -> None:
    """Write the weights to best.safetensors."""
    tensors = {MODEL + name: weight for name, weight in training.model.state_dict().items()}
    _write_tensors(run, "best", tensors, training)


def save_last(run: Run, training: Training) -> None:
    """Write all that `resume` needs to last.safetensors: one file, so always of a piece."""
    tensors = {MODEL + name: weight for name, weight in training.model.state_dict().items()}
    for index, slots in training.optimizer.state_dict()["state"].items():
        tensors |= {f"{OPTIMIZER}{index}.{name}": value for name, value in slots.items()}
    tensors |= {f"{STATE}{index}": part for index, part in enumerate(training.state)}
    tensors[RNG + "cpu"] = torch.get_rng_state()
    if training.state[0].is_cuda:
        tensors[RNG + "cuda"] = torch.cuda.get_rng_state()
    _write_tensors(run, "last", tensors, training)


def load_weights(run: Run, name: str, model: RNNLM) -> int:
    """Put a checkpoint's weights into the model; returns its step. ValueError where damaged."""
    tensors, progress = _read_tensors(run, name)
    path = run.path / f"{name}.safetensors"
    _load_model(path, tensors, model)
    return int(progress["step"])


def load_training(run: Run, training: Training) -> None:
    """Put the last checkpoint into `training`, and torch's generators where they were."""
    tensors, progress = _read_tensors(run, "last")
    path = run.path / "last.safetensors"
    _load_model(path, tensors, training.model)
    device = training.state[0].device
    try:
        slots: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith(OPTIMIZER):
                index, slot = name.removeprefix(OPTIMIZER).split(".")
                slots.setdefault(int(index), {})[slot] = value
        groups = training.optimizer.state_dict()["param_groups"]
        training.optimizer.load_state_dict({"state": slots, "param_groups": groups})
        parts = range(len(training.state))
        training.state = tuple(tensors[f"{STATE}{index}"].to(device) for index in parts)
        torch.set_rng_state(tensors[RNG + "cpu"])
        if RNG + "cuda" in tensors and device.type == "cuda":
            torch.cuda.set_rng_state(tensors[RNG + "cuda"])
        training.step = int(progress["step"])
        training.best_loss = float(progress["best_loss"])
        training.best_step = int(progress["best_step"])
    except (KeyError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is damaged: it lacks or spoils {error}") from error


def _write_tensors(run: Run, name: str, tensors: Mapping[str, Tensor], training: Training) -> None:
    progress = {
        "step": str(training.step),
        "best_loss": repr(training.best_loss),  # repr: reads back as the same float
        "best_step": str(training.best_step),
        "vocabulary": run.fingerprint,
        "shapes": _shapes(tensors),
    }
    on_cpu = {key: tensor.detach().contiguous().cpu() for key, tensor in tensors.items()}
    write_atomically(run.path / f"{name}.safetensors", save(on_cpu, metadata=progress))


def _read_tensors(run: Run, name: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    path = run.path / f"{name}.safetensors"
    if not path.exists():
        raise ValueError(f"{run.path} has no {name} checkpoint: it stopped before its first save")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (safe_open is no dict)
            progress: dict[str, str] = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if progress.get("vocabulary") != run.fingerprint:
        raise ValueError(f"{path} was trained with another vocabulary than {run.path} holds")
    if progress.get("shapes") != _shapes(tensors):
        raise ValueError(f"{path} is damaged: its tensors are not those that were saved")
    return tensors, progress


def _shapes(tensors: Mapping[str, Tensor]) -> str:
    """Names and shapes of all tensors."""
    return json.dumps({name: list(tensors[name].shape) for name in sorted(tensors)})


def _load_model(path: Path, tensors: Mapping[str, Tensor], model: RNNLM) -> None:
    """Copy the weights; ValueError names the first that is missing or has another shape."""
    for name, weight in model.state_dict().items():
        if MODEL + name not in tensors:
            raise ValueError(f"{path} is damaged: it lacks the tensor {name}")
        saved = tensors[MODEL + name]
        if saved.shape != weight.shape:
            shapes = f"{tuple(weight.shape)}, got {tuple(saved.shape)}"
            raise ValueError(f"{path} is damaged: {name} must have shape {shapes}")
    model.load_state_dict({name: tensors[MODEL + name] for name in model.state_dict()})
