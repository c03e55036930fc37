"""Checkpoints: weights, and all that it takes to go on bit for bit, as safetensors."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fastlstm.rnnlm.distributed import all_streams, is_first, own_streams
from fastlstm.rnnlm.generators import generator_states, set_generators
from fastlstm.rnnlm.guard import keep_good
from fastlstm.rnnlm.model import RNNLM, own_tensors
from fastlstm.rnnlm.optimizers import SLOTS, Mean, judged_weights
from fastlstm.rnnlm.runs import Run
from fastlstm.rnnlm.saved import KINDS, RNG, STATE, Progress, read_checkpoint, write_checkpoint
from fastlstm.rnnlm.training import Training

MODEL, OPTIMIZER = "model.", "optimizer."
MEAN, GOOD = "mean.", "good."
Shapes = dict[str, tuple[int, ...]]


def save_best(run: Run, training: Training) -> None:
    """Write the weights that were judged to best.safetensors."""
    with judged_weights(training.model, training.mean):
        _write(run, "best", _named(MODEL, own_tensors(training.model)), training)


def save_last(run: Run, training: Training) -> None:
    """Write all that `resume` needs, of all processes, to last.safetensors: always of a piece."""
    tensors = _named(MODEL, own_tensors(training.model))
    if training.mean is not None:
        tensors |= _named(MEAN, training.mean.weights)
    if training.good is not None and training.good_step != training.step:
        tensors |= _named(GOOD, training.good)
    for index, slots in training.optimizer.state_dict()["state"].items():
        tensors |= {f"{OPTIMIZER}{index}.{name}": value for name, value in slots.items()}
    tensors |= {f"{STATE}{i}": all_streams(part, 1) for i, part in enumerate(training.state)}
    tensors |= _named(RNG, generator_states(training.state[0].device))
    _write(run, "last", tensors, training)


def load_weights(run: Run, name: str, model: RNNLM) -> int:
    """Put a checkpoint's weights into the model; returns its step.

    ValueError where the checkpoint is damaged, another run's, or not of `run.config`.
    """
    tensors, progress = read_checkpoint(run, name)
    weights = {key: value for key, value in tensors.items() if key.startswith(MODEL)}
    _check_shapes(run, name, weights, _model_shapes(model))
    _load_model(weights, model)
    return progress.step


def load_training(run: Run, training: Training) -> None:
    """Put the last checkpoint into `training`, and torch's generators where they were.

    ValueError as in `load_weights`.
    """
    tensors, progress = read_checkpoint(run, "last")
    step, more = progress.step, progress.more
    expected = _model_shapes(training.model) | _training_shapes(
        run, training, updated=step > 0 and more.get("lr", 1.0) > 0
    )
    weights = {name: tuple(weight.shape) for name, weight in training.model.named_parameters()}
    if more.get("mean") is not None:
        expected |= {MEAN + name: shape for name, shape in weights.items()}
    if more.get("good_step", step) != step:
        expected |= {GOOD + name: shape for name, shape in weights.items()}
    _check_shapes(run, "last", tensors, expected)
    if f"{RNG}cpu" not in tensors:
        raise ValueError(f"{run.path / 'last.safetensors'} is damaged: it lacks {RNG}cpu")
    _load_model(tensors, training.model)
    slots: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith(OPTIMIZER):
            index, slot = name.removeprefix(OPTIMIZER).split(".")
            slots.setdefault(int(index), {})[slot] = value
    groups = training.optimizer.state_dict()["param_groups"]
    training.optimizer.load_state_dict({"state": slots, "param_groups": groups})
    device = training.state[0].device
    state = (tensors[f"{STATE}{i}"].to(part) for i, part in enumerate(training.state))
    training.state = tuple(own_streams(part, 1) for part in state)
    states = {key.removeprefix(RNG): tensors[key] for key in tensors if key.startswith(RNG)}
    set_generators(states, device, run.config.seed, step)
    training.step = step
    training.best_loss, training.best_step = progress.best_loss, progress.best_step
    _load_more(tensors, more, training)


def _load_more(tensors: Mapping[str, Tensor], more: Mapping[str, Any], training: Training) -> None:
    """What older checkpoints have not: there it is as it was when they were written."""
    for name in KINDS:
        if name in more and name != "mean":
            setattr(training, name, more[name])
    if more.get("mean") is not None:
        training.mean = Mean(training.model)
        training.mean.count = int(more["mean"])
        for name, weight in training.mean.weights.items():
            weight.copy_(tensors[MEAN + name])
    returns = training.returns
    if more.get("good_step", training.step) == training.step:
        keep_good(training)
    else:
        device = training.model.decoder.weight.device
        names = (name for name, _ in training.model.named_parameters())
        training.good = {name: tensors[GOOD + name].to(device) for name in names}
    training.returns = returns


def _named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _write(run: Run, name: str, tensors: Mapping[str, Tensor], training: Training) -> None:
    if not is_first():
        return
    more = {name: getattr(training, name) for name in KINDS if name != "mean"}
    more["mean"] = None if training.mean is None else training.mean.count
    progress = Progress(training.step, training.best_loss, training.best_step, more)
    write_checkpoint(run, name, tensors, progress)


def _model_shapes(model: RNNLM) -> Shapes:
    return {MODEL + name: tuple(weight.shape) for name, weight in own_tensors(model).items()}


def _training_shapes(run: Run, training: Training, updated: bool) -> Shapes:
    """Shapes of the optimizer's slots and of the carried state, as config.json has them."""
    state = training.model.initial_state(run.config.batch)
    shapes = {f"{STATE}{index}": tuple(part.shape) for index, part in enumerate(state)}
    if updated:  # the first update makes the slots
        for index, parameter in enumerate(training.model.parameters()):
            for slot in SLOTS[run.config.optimizer]:
                shape = () if slot == "step" else tuple(parameter.shape)
                shapes[f"{OPTIMIZER}{index}.{slot}"] = shape
    return shapes


def _check_shapes(run: Run, name: str, tensors: Mapping[str, Tensor], expected: Shapes) -> None:
    """ValueError names the first tensor that is not as config.json has it."""
    saved = {key: tuple(tensors[key].shape) for key in tensors if not key.startswith(RNG)}
    for key in sorted(expected.keys() | saved.keys()):
        if expected.get(key) != saved.get(key):
            raise ValueError(
                f"{run.path}: config.json and {name}.safetensors disagree: shape of {key} is "
                f"{expected.get(key)} by the former, {saved.get(key)} in the latter"
            )


def _load_model(tensors: Mapping[str, Tensor], model: RNNLM) -> None:
    own = {name: tensors[MODEL + name] for name in own_tensors(model)}
    model.load_state_dict(own, strict=False)  # strict, it asks for what is tied twice
