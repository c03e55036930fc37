"""A step of the trainer under pytest-benchmark, on fastlstm and on nn.LSTM."""

from functools import partial

import pytest
import torch

from fastlstm.bench.timing import synchronize
from fastlstm.bench.training import (
    ALLOWED,
    ENDLESS,
    FULL,
    QUICK,
    Trainer,
    difference,
    random_text,
    start_sides,
)
from fastlstm.rnnlm.training import train_step

CASES = [("quick", trainer) for trainer in QUICK] + [("full", trainer) for trainer in FULL]


@pytest.mark.parametrize("side", [0, 1], ids=["nn.LSTM", "fastlstm"])
@pytest.mark.parametrize(
    "trainer",
    [
        pytest.param(trainer, id=f"{grid}-{trainer.case()}-V{trainer.vocabulary}".replace(" ", "-"))
        for grid, trainer in CASES
    ],
)
def test_train_step(benchmark, device, trainer: Trainer, side):
    streams = random_text(trainer, device)
    sides = start_sides(trainer, device)
    assert difference(sides, streams) <= ALLOWED
    training = sides[side]
    benchmark.group = f"{trainer.measure} {trainer.case()}"
    benchmark.extra_info.update(tokens=trainer.B * trainer.T)
    step = partial(train_step, training, streams, trainer.config(), ENDLESS)
    loss, *_ = benchmark(step if device == "cpu" else lambda: (step(), synchronize(device))[0])
    assert torch.isfinite(loss)
