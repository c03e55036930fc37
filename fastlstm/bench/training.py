"""The trainer's speed end to end: one step, on fastlstm and on nn.LSTM."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

import torch

from fastlstm.bench.case import Case
from fastlstm.bench.layer import Bench, make_row
from fastlstm.bench.providers import baseline, fastlstm_providers
from fastlstm.bench.row import Row
from fastlstm.bench.timing import interleave
from fastlstm.rnnlm.config import Config, make_config
from fastlstm.rnnlm.dataset import Streams
from fastlstm.rnnlm.gradients import compute_gradients
from fastlstm.rnnlm.model import make_model
from fastlstm.rnnlm.training import Training, start_training, train_step
from fastlstm.verify import relative_error

WINDOWS = 20  # of the random text
ALLOWED = math.sqrt(torch.finfo(torch.float32).eps)  # half of the digits
ENDLESS = 1_000_000_000  # steps, so that the learning rate stays what it is


@dataclass(frozen=True)
class Trainer:
    """A language model over a vocabulary, and its window: B streams of T tokens."""

    vocabulary: int
    hidden: int
    layers: int
    B: int
    T: int

    def case(self) -> Case:
        """Its recurrent layers."""
        return Case(self.hidden, self.hidden, self.layers, self.B, self.T)

    def config(self) -> Config:
        """The trainer's defaults at this size."""
        sizes = {"hidden": self.hidden, "layers": self.layers, "batch": self.B, "window": self.T}
        return make_config(sizes)

    @property
    def measure(self) -> str:
        """What `Row.measure` says."""
        return f"training step, {self.vocabulary} tokens"


QUICK = (Trainer(96, 128, 2, 50, 50),)  # char-rnn's size
FULL = (
    *QUICK,
    Trainer(10_000, 200, 2, 20, 20),  # Penn Treebank, "small" of Zaremba et al. (2014)
    Trainer(96, 512, 3, 50, 50),
)


def measure_trainer(bench: Bench, trainer: Trainer) -> list[Row]:
    """Tokens per second of both; a line instead if their first steps differ."""
    config = trainer.config()
    streams = random_text(trainer, bench.device)
    sides = start_sides(trainer, bench.device)
    worst = difference(sides, streams)
    if not worst <= ALLOWED:
        bench.say(f"trainer: REFUSED, a loss or gradient differs from nn.LSTM's by {worst:.1e}")
        return []
    calls = [partial(train_step, side, streams, config, ENDLESS) for side in sides]
    times = interleave(calls, bench.effort, bench.device)
    case, found = trainer.case(), fastlstm_providers(bench.device, "float32")
    ours = next(p for p in found if p.is_auto(case, trainer.measure, bench.device))
    rows = []
    for provider, own in zip((baseline(), ours), times, strict=True):
        speeds = [trainer.B * trainer.T / seconds for seconds in own]
        ratios = [a / b for a, b in zip(times[0], own, strict=False)]
        metric = {"measure": trainer.measure, "metric": "speed", "unit": "tokens/s"}
        rows.append(make_row(bench, case, provider, speeds, ratios, metric))
    return rows


def start_sides(trainer: Trainer, device: str) -> list[Training]:
    """The trainer on nn.LSTM and on fastlstm, from the same weights."""
    config = trainer.config()
    return [
        start_training(make_model(trainer.vocabulary, side, torch.device(device)), side)
        for side in (replace(config, implementation="torch"), config)
    ]


def random_text(trainer: Trainer, device: str) -> Streams:
    """Windows of random tokens, the same on every call."""
    generator = torch.Generator().manual_seed(0)
    length = WINDOWS * trainer.B * trainer.T
    tokens = torch.randint(trainer.vocabulary, (length,), generator=generator)
    return Streams(tokens.to(device), 0, trainer.B, trainer.T)


def difference(sides: list[Training], streams: Streams) -> float:
    """The largest error of the second side's first step, relative to the first's."""
    expected, got = (_first_step(side, streams) for side in sides)
    return max(relative_error(b, a.double()) for a, b in zip(expected, got, strict=True))


def _first_step(side: Training, streams: Streams) -> list[torch.Tensor]:
    """Loss, state and every gradient of the first window."""
    loss, state = compute_gradients(side.model, *streams[0], side.state)
    gradients = [p.grad for p in side.model.parameters() if p.grad is not None]
    return [loss, *state, *gradients]
