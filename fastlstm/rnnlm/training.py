"""Truncated BPTT: the training step, its schedule, and the loop around it."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam, Optimizer, RMSprop

from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.dataset import Streams
from fastlstm.rnnlm.model import RNNLM, State

LR_END = 0.01  # of --lr, where a decay ends
LOG_EVERY = 10  # steps; losses are fetched from the device only then


@dataclass(frozen=True)
class StepLog:
    """What is reported of the steps since the last report; `loss` in nats, `grad_norm` unclipped.

    loss, grad_norm: means over those steps; clipped: the part of them that was clipped.
    """

    step: int
    epoch: float
    loss: float
    grad_norm: float
    clipped: float
    lr: float
    tokens_per_second: float


@dataclass
class Training:
    """A run in flight: all that a checkpoint must hold to go on bit for bit.

    The position in the text follows from `step`: every epoch reads the same windows in order.
    """

    model: RNNLM
    optimizer: Optimizer
    state: State
    step: int = 0
    best_loss: float = math.inf
    best_step: int = 0


def start_training(model: RNNLM, config: Config) -> Training:
    """A run at step 0."""
    return Training(model, make_optimizer(model, config), model.initial_state(config.batch))


def make_optimizer(model: nn.Module, config: Config) -> Optimizer:
    """Adam, RMSprop (decay .95, as char-rnn's) or plain SGD, by `config.optimizer`."""
    if config.optimizer == "adam":
        return Adam(model.parameters(), lr=config.lr, fused=True)
    if config.optimizer == "rmsprop":
        return RMSprop(model.parameters(), lr=config.lr, alpha=0.95)
    return torch.optim.SGD(model.parameters(), lr=config.lr)


def learning_rate(config: Config, step: int, total_steps: int) -> float:
    """The rate of step `step`, 0 <= step < total_steps: from --lr to 1% of it, or constant."""
    done = step / total_steps
    if config.lr_decay == "cosine":  # Loshchilov and Hutter (2017), one period
        return config.lr * (LR_END + (1 - LR_END) * (1 + math.cos(math.pi * done)) / 2)
    if config.lr_decay == "linear":
        return config.lr * (LR_END + (1 - LR_END) * (1 - done))
    return config.lr


def compute_gradients(
    model: RNNLM, inputs: Tensor, targets: Tensor, state: State
) -> tuple[Tensor, State]:
    """Backpropagate one window; returns its loss (mean nats per token) and the state after it.

    inputs [T, B], targets [T * B]. The gradient stops at the window's start: truncated BPTT
    (Williams and Peng, 1990), while the state itself goes on to the next window.
    """
    model.zero_grad(set_to_none=True)
    logits, state = model(inputs, state)
    loss = F.cross_entropy(logits.flatten(0, 1), targets)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach(), tuple(part.detach() for part in state)


def next_window(training: Training, streams: Streams) -> tuple[Tensor, Tensor]:
    """The window of the current step: inputs [T, B] and targets [T * B].

    An epoch starts from a zero state, every other window from the state of the one before it.
    """
    index = training.step % len(streams)
    if index == 0:
        training.state = training.model.initial_state(streams.batch)
    return streams[index]


def apply_gradients(training: Training, config: Config, total_steps: int) -> Tensor:
    """Clip the gradients' global norm, update the weights; returns the norm before, on the device.

    Pascanu et al. (2013), algorithm 1.
    """
    norm = nn.utils.clip_grad_norm_(training.model.parameters(), config.clip)
    for group in training.optimizer.param_groups:
        group["lr"] = learning_rate(config, training.step, total_steps)
    training.optimizer.step()
    training.step += 1
    return norm


def train_step(
    training: Training, streams: Streams, config: Config, total_steps: int
) -> tuple[Tensor, Tensor]:
    """One window: forward, BPTT, clip, update; returns loss and gradient norm, on the device."""
    inputs, targets = next_window(training, streams)
    loss, training.state = compute_gradients(training.model, inputs, targets, training.state)
    return loss, apply_gradients(training, config, total_steps)


def train_steps(
    training: Training,
    streams: Streams,
    config: Config,
    until: int,
    interrupted: Callable[[], bool],
) -> Iterator[StepLog]:
    """Train up to step `until`, or until `interrupted()`; yields a log every few steps.

    RuntimeError as soon as a loss or a gradient is no longer finite, which is looked for before
    every log, so that whoever saves at a log never saves broken weights.
    """
    total_steps = config.total_steps(len(streams))
    while training.step < until and not interrupted():
        began, first = time.perf_counter(), training.step
        losses, norms = [], []
        # whole decades, so that the log of a resumed run has the steps of an unbroken one
        stop = min(until, (first // LOG_EVERY + 1) * LOG_EVERY)
        while training.step < stop and not interrupted():
            loss, norm = train_step(training, streams, config, total_steps)
            losses.append(loss)
            norms.append(norm)
        if not losses:
            return
        loss, norm = torch.stack(losses).cpu(), torch.stack(norms).cpu()
        _check_finite(loss, norm, first)
        steps = training.step - first
        yield StepLog(
            step=training.step,
            epoch=training.step / len(streams),
            loss=float(loss.mean()),
            grad_norm=float(norm.mean()),
            clipped=float((norm > config.clip).float().mean()),
            lr=learning_rate(config, training.step - 1, total_steps),
            tokens_per_second=steps * config.batch * config.window / (time.perf_counter() - began),
        )


def _check_finite(loss: Tensor, norm: Tensor, first: int) -> None:
    """RuntimeError naming the first step whose loss or gradient is NaN or infinite."""
    bad = ~(loss.isfinite() & norm.isfinite())
    if bad.any():
        at = int(bad.int().argmax())
        raise RuntimeError(
            f"training diverged at step {first + at + 1}: loss {float(loss[at]):.4g}, gradient "
            f"norm {float(norm[at]):.4g}; a smaller --lr or --clip may help"
        )
