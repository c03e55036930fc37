"""The same training twice, on fastlstm and on torch.nn.LSTM: `train --verify`.

Two float32 trainings of the same model part in the end whatever their kernels do: rounding differs
and training amplifies it, so how far the loss curves are apart says little about right and wrong
(and Adam hides a gradient that is merely scaled). Therefore the verdict is reached at equal
weights. At every step a judge, torch.nn.LSTM in float32, gets fastlstm's weights, carried state and
window, and its loss, final states and gradient of every parameter, before clipping, are compared:

    error = ||ours - judge|| / ||judge||     for each of these tensors

What rounding explains is measured, not guessed: on the first step, on every `EARN_EVERY`-th and
wherever the verdict depends on it the judge's own error against float64 is taken in the same way.
The largest one so far, times `SLACK`, is what any tensor of ours may be off. A gradient that is 1%
wrong is far beyond it.

If every step passes, the curves differ by amplified rounding alone; a gross gap still fails, as it
would show a fault outside the step, such as a kernel that writes into what it should only read.
"""

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.dataset import Dataset, Streams, make_streams
from fastlstm.rnnlm.gradients import compute_gradients
from fastlstm.rnnlm.model import RNNLM, State, make_model
from fastlstm.rnnlm.optimizers import clip_gradients
from fastlstm.rnnlm.option import flag
from fastlstm.rnnlm.training import Training, apply_gradients, next_window, start_training

EARN_EVERY = 10  # steps between two measurements of torch's own rounding error
SLACK = 16.0  # luck of thousands of draws, and another order of summation
FLOOR = 2.0**-20  # error allowed where torch happens to be exact: 8 units in the last place
NOT_COMPARED = (
    "dropout", "dropout_input", "dropout_output", "dropout_embedding", "locked_dropout",
    "recurrent_dropout", "zoneout", "weight_drop", "reset_at",
)  # fmt: skip
GAP = 0.25  # nats: long trainings part by amplified rounding, but hardly that far


@dataclass(frozen=True)
class ComparedStep:
    """One step of both trainings: losses in nats, seconds, and the worst error at equal weights.

    worst: the tensor with that error; allowed: what rounding explains.
    """

    step: int
    ours: float
    theirs: float
    our_seconds: float
    their_seconds: float
    worst: str
    error: float
    allowed: float

    @property
    def fault(self) -> str | None:
        """What is wrong at this step, if anything."""
        if not self.error <= self.allowed:  # so that NaN is a fault
            return (
                f"step {self.step}: {self.worst} differs from nn.LSTM's at the same weights by "
                f"{self.error:.1e} of its norm; rounding explains {self.allowed:.1e}"
            )
        if abs(self.ours - self.theirs) > GAP:
            return (
                f"step {self.step}: the loss curves are {abs(self.ours - self.theirs):.4f} nats "
                f"apart, {self.ours:.4f} against {self.theirs:.4f}"
            )
        return None


def compare_training(
    dataset: Dataset, config: Config, device: torch.device
) -> Iterator[ComparedStep]:
    """Train both from the same weights, step by step in turns; ends after the first fault.

    ValueError where the config has no two sides to compare: another cell, or dropout, whose masks
    are drawn differently.
    """
    if config.cell != "lstm" or config.implementation != "fastlstm":
        raise ValueError("--verify compares fastlstm's LSTM: it needs --cell lstm, and no other")
    given = [flag(name) for name in NOT_COMPARED if getattr(config, name)]
    given += ["--precision bf16"] * (config.precision == "bf16")
    if given:
        raise ValueError(
            f"--verify compares without dropout, whose masks are random, and without what nn.LSTM "
            f"has not: leave out {', '.join(given)}"
        )
    size = len(dataset.vocabulary)
    ours = start_training(make_model(size, config, device), config)
    model = make_model(size, replace(config, implementation="torch"), device)
    model.load_state_dict(ours.model.state_dict())
    theirs = start_training(model, config)
    judge = _Judge(model)
    streams = make_streams(dataset, config, device)
    while ours.step < config.total_steps(len(streams)):
        step = _compare_step(ours, theirs, judge, streams, config)
        yield step
        if step.fault:
            return


class _Judge:
    """torch.nn.LSTM at the weights of the model that is judged, and what it may be off by."""

    def __init__(self, model: RNNLM) -> None:
        self._single = copy.deepcopy(model)
        self._double = copy.deepcopy(model).double()
        self._rounding = FLOOR / SLACK

    def take_weights(self, model: RNNLM) -> None:
        """Copy the weights that the next judgement is about."""
        self._single.load_state_dict(model.state_dict())

    def judge(
        self, got: dict[str, Tensor], inputs: Tensor, targets: Tensor, state: State, earn: bool
    ) -> tuple[str, float, float]:
        """The worst tensor of `got`, its error, and the error that rounding explains."""
        expected = _results(self._single, *compute_gradients(self._single, inputs, targets, state))
        errors = _errors(got, expected)
        worst = max(errors, key=lambda name: math.inf if math.isnan(errors[name]) else errors[name])
        # a window may be worse conditioned than those before: ask once more before a verdict
        if earn or not errors[worst] <= SLACK * self._rounding:
            self._earn(expected, inputs, targets, state)
        return worst, errors[worst], SLACK * self._rounding

    def _earn(
        self, expected: dict[str, Tensor], inputs: Tensor, targets: Tensor, state: State
    ) -> None:
        """Measure how far the judge itself is from float64 on this window."""
        self._double.load_state_dict(self._single.state_dict())
        wide = tuple(part.double() for part in state)
        exact = _results(self._double, *compute_gradients(self._double, inputs, targets, wide))
        self._rounding = max(self._rounding, *_errors(expected, exact).values())


def _compare_step(
    ours: Training, theirs: Training, judge: _Judge, streams: Streams, config: Config
) -> ComparedStep:
    """One step of both, in turns as to who goes first, and the judgement on ours."""
    total_steps = config.total_steps(len(streams))
    index = ours.step
    inputs, targets = next_window(ours, streams, config)
    next_window(theirs, streams, config)
    before = ours.state
    judge.take_weights(ours.model)
    verdict: list[tuple[str, float, float]] = []
    seconds, losses = {}, {}
    for name in ("ours", "theirs") if index % 2 == 0 else ("theirs", "ours"):
        training = ours if name == "ours" else theirs
        began = time.perf_counter()
        loss, training.state = compute_gradients(training.model, inputs, targets, training.state)
        losses[name] = float(loss)  # waits for the device
        seconds[name] = time.perf_counter() - began
        if name == "ours":
            got = _results(ours.model, loss, ours.state)
            verdict.append(judge.judge(got, inputs, targets, before, index % EARN_EVERY == 0))
        began = time.perf_counter()
        clip_gradients(training.model, config)
        apply_gradients(training, config, total_steps)
        seconds[name] += time.perf_counter() - began
    return ComparedStep(
        ours.step,
        losses["ours"],
        losses["theirs"],
        seconds["ours"],
        seconds["theirs"],
        *verdict[0],
    )


def _results(model: RNNLM, loss: Tensor, state: State) -> dict[str, Tensor]:
    """All that a step computes, by name."""
    results = {"the loss": loss}
    for name, part in zip(("h_n", "c_n"), state, strict=True):
        results[name] = part
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        results[f"the gradient of {name}"] = parameter.grad
    return results


def _errors(got: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, float]:
    """Distance of each tensor from the expected one, relative to the latter's norm."""
    errors = {}
    for name, right in expected.items():
        right = right.double()
        distance, norm = (got[name].double() - right).norm(), right.norm()
        # a gradient that must be zero may only be zero
        errors[name] = float(distance / norm) if norm > 0 else float(distance)
    return errors
