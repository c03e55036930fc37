"""Truncated BPTT: the training step, and the loop around it."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.optim import Optimizer

from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.dataset import Streams
from fastlstm.rnnlm.distributed import all_streams, processes
from fastlstm.rnnlm.generators import seed_process
from fastlstm.rnnlm.gradients import average_gradients, compute_gradients
from fastlstm.rnnlm.guard import Skip, find_fault, skip_window, worst_stream
from fastlstm.rnnlm.model import RNNLM, State
from fastlstm.rnnlm.optimizers import Mean, clip_gradients, make_optimizer
from fastlstm.rnnlm.schedule import SHORTEST, learning_rate, window_length

LOG_EVERY = 10  # steps


@dataclass(frozen=True)
class StepLog:
    """What is reported of the steps since the last report; `loss` in nats, `grad_norm` unclipped.

    loss, grad_norm: means over those steps but the skipped ones; NaN where all were.
    clipped: the part of them that was clipped, or with --clip-by value of their elements.
    skips: the windows left out.
    """

    step: int
    epoch: float
    loss: float
    grad_norm: float
    clipped: float
    lr: float
    tokens_per_second: float
    skips: tuple[Skip, ...] = ()


@dataclass
class Training:
    """A run in flight: all that a checkpoint must hold to go on bit for bit.

    state: of this process's streams.
    position: tokens of each stream read in this epoch; None: as many as `step` windows of equal
        length are.
    lr_scale: what stalls and divergence have made of the rate.
    valid_losses, waited: all validation losses; how many since the best or the last stall.
    stalls: how many there were; ended: why the run is at its end before its last step.
    good: the weights of step `good_step`, which `guard` goes back to.
    """

    model: RNNLM
    optimizer: Optimizer
    state: State
    step: int = 0
    best_loss: float = math.inf
    best_step: int = 0
    position: int | None = None
    epoch: int = 0
    lr: float = 0.0
    lr_scale: float = 1.0
    valid_losses: list[float] = field(default_factory=list)
    waited: int = 0
    stalls: int = 0
    seconds: float = 0.0
    ended: str = ""
    bad_in_a_row: int = 0
    returns: int = 0
    good_step: int = 0
    good: dict[str, Tensor] | None = None
    mean: Mean | None = None


def start_training(model: RNNLM, config: Config) -> Training:
    """A run at step 0."""
    state = model.initial_state(config.batch // processes())
    training = Training(model, make_optimizer(model, config), state)
    seed_process(config.seed, training.step)
    if config.average == "always":
        training.mean = Mean(model)
    return training


def next_window(training: Training, streams: Streams, config: Config) -> tuple[Tensor, Tensor]:
    """The window of the current step, which `training` moves past: inputs [T, B], targets [T * B].

    An epoch starts from a zero state, every other window from the state of the one before it.
    """
    if training.position is None:
        training.epoch, index = divmod(training.step, len(streams))
        training.position = index * config.window
    length = window_length(config, training.step)
    left = streams.length - training.position
    if left < (length if config.windows == "fixed" else SHORTEST):
        training.epoch += 1
        training.position, left = 0, streams.length
    if training.position == 0:
        training.state = training.model.initial_state(streams.batch)
    length = min(length, left)
    window = streams.cut(training.position, length)
    training.position += length
    return window


def apply_gradients(
    training: Training, config: Config, total_steps: int, scale: float = 1.0
) -> None:
    """Update the weights, at `scale` times the rate of this step."""
    done: float = training.step
    if config.time_budget is not None:
        done = max(done, total_steps * training.seconds / 60 / config.time_budget)
    rate = learning_rate(config, done, total_steps, training.epoch)
    training.lr = rate * training.lr_scale * scale
    for group in training.optimizer.param_groups:
        group["lr"] = training.lr
    training.optimizer.step()
    training.step += 1
    training.bad_in_a_row = 0
    if training.mean is not None:
        training.mean.add(training.model)


def train_step(
    training: Training, streams: Streams, config: Config, total_steps: int
) -> tuple[Tensor, Tensor, Tensor] | Skip:
    """One window: forward, BPTT, clip, update; loss, gradient norm and the part clipped.

    Or what was wrong with it: then the weights are as before.
    """
    inputs, targets = next_window(training, streams, config)
    before, model = training.state, training.model
    loss, training.state = compute_gradients(model, inputs, targets, before)
    loss = average_gradients(model, loss)
    norm, clipped = clip_gradients(model, config)
    if reason := find_fault(model, loss, norm):
        stream = worst_stream(model, inputs, targets, before)
        begin = streams.offset(stream, (training.position or 0) - len(inputs))
        tokens = all_streams(inputs, 1)[:, stream].tolist()
        return skip_window(training, Skip(training.step + 1, reason, stream, begin, tokens))
    scale = len(inputs) / config.window if config.windows == "awd" else 1.0
    apply_gradients(training, config, total_steps, scale)
    return loss, norm, clipped


def train_steps(
    training: Training,
    streams: Streams,
    config: Config,
    until: int,
    interrupted: Callable[[], bool],
) -> Iterator[StepLog]:
    """Train up to step `until`, or until `interrupted()`; yields a log every few steps.

    RuntimeError when it diverges, and skipping windows and going back does not help.
    """
    total_steps = config.total_steps(config.windows_per_epoch(streams.length * config.batch))
    while training.step < until and not interrupted():
        began, first, tokens = time.perf_counter(), training.step, 0
        done, skips = [], []
        # whole decades, so that the log of a resumed run has the steps of an unbroken one
        stop = min(until, (first // LOG_EVERY + 1) * LOG_EVERY)
        while training.step < stop and not interrupted():
            tokens += window_length(config, training.step) * config.batch
            result = train_step(training, streams, config, total_steps)
            if isinstance(result, Skip):
                skips.append(result)
            else:
                done.append(torch.stack(result))
        if training.step == first:
            return
        loss, norm, clipped = torch.stack(done).mean(0).tolist() if done else [math.nan] * 3
        yield StepLog(
            training.step,
            epoch_of(training, streams, config),
            loss,
            norm,
            clipped,
            training.lr,
            tokens / (time.perf_counter() - began),
            tuple(skips),
        )


def epoch_of(training: Training, streams: Streams, config: Config) -> float:
    """How often the text has been read."""
    if config.windows == "fixed":
        return training.step / len(streams)
    return training.epoch + (training.position or 0) / streams.length
