"""Seconds of several calls, in turn."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

Call = Callable[[], object]
FEWEST = 5  # rounds


@dataclass(frozen=True)
class Effort:
    """How long is measured: `rounds` of samples that last at least `sample` seconds each.

    Where these take longer than `budget` seconds there are fewer rounds, `FEWEST` at least. A call
    `slow` times longer than the first one is sampled in the first `slow_rounds` only.
    Peak memory is measured in `memory_rounds`.
    """

    rounds: int
    sample: float
    budget: float
    slow: float = 8.0
    slow_rounds: int = 3
    memory_rounds: int = 3


def synchronize(device: str) -> None:
    """Wait until the device has done all it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(call: Call, repeats: int, device: str) -> float:
    """Wall time of one call, the mean over `repeats`."""
    synchronize(device)
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    synchronize(device)
    return (time.perf_counter() - start) / repeats


def interleave(calls: Sequence[Call], effort: Effort, device: str) -> list[list[float]]:
    """Seconds of each call in each round; in a round all calls have their turn.

    The order is drawn anew in each round, so that none always follows the same other. A call that
    is repeated runs once untimed first: caches and threads are then its own.
    """
    draw = random.Random(0)
    first = [min(seconds(call, 1, device) for _ in range(3)) for call in calls]
    repeats = [max(1, round(effort.sample / max(once, 1e-9))) for once in first]
    slow = [once > effort.slow * first[0] for once in first]
    one_round = sum(
        max(once, effort.sample) for once, late in zip(first, slow, strict=True) if not late
    )
    most = min(effort.rounds, max(FEWEST, int(effort.budget / max(one_round, 1e-9))))
    rounds = [min(effort.slow_rounds, most) if late else most for late in slow]
    times: list[list[float]] = [[] for _ in calls]
    for turn in range(most):
        order = [index for index in range(len(calls)) if turn < rounds[index]]
        for index in draw.sample(order, len(order)):
            if repeats[index] > 1:
                calls[index]()
            times[index].append(seconds(calls[index], repeats[index], device))
    return times


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """The 20th, 50th and 80th percentile."""
    if len(values) == 1:
        return (values[0],) * 3
    fifths = statistics.quantiles(values, n=5, method="inclusive")
    return fifths[0], statistics.median(values), fifths[3]


def shown_ratio(times: Sequence[float], others: Sequence[float], scale: float = 1.0) -> str:
    """Times over those of the same rounds: the median, and its 20th and 80th percentile."""
    low, middle, high = spread([scale * a / b for a, b in zip(times, others, strict=True)])
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"
