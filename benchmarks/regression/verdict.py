"""What the times of two trees say: ratios, how sure they are, a verdict, and the table."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

OURS, PEER = "fastlstm", "nn.LSTM"
BASE, NEW = "base", "new"
FASTER, SLOWER, SAME = "faster", "slower", "same"
CONFIDENCE, SMALLEST_CHANGE = 0.99, 1.02

Times = dict[tuple[str, str], list[float]]  # (provider, side): seconds in each round


class Spread(NamedTuple):
    """The median of some values and its confidence interval."""

    low: float
    median: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3f} ({self.low:.2f}-{self.high:.2f})"


def spread(values: Sequence[float]) -> Spread:
    """The interval goes from one of the values to another: nothing is assumed of their law."""
    ordered, n, dropped = sorted(values), len(values), 0
    missed = 2 * 0.5**n  # how often an interval from the least to the greatest misses the median
    while (missed := missed + 2 * math.comb(n, dropped + 1) * 0.5**n) <= 1 - CONFIDENCE:
        dropped += 1
    return Spread(ordered[dropped], statistics.median(ordered), ordered[-1 - dropped])


def verdict(ratio: Spread, control: Spread) -> str:
    """Whether the new tree is faster; `ratio` is base to new, `control` that of nn.LSTM."""
    if ratio.low > 1 and ratio.median > max(control.high, SMALLEST_CHANGE):
        return FASTER
    if ratio.high < 1 and ratio.median < min(control.low, 1 / SMALLEST_CHANGE):
        return SLOWER
    return SAME


class Row(NamedTuple):
    """A shape and a measure, and what came of it."""

    shape: str
    measure: str
    base_ms: float
    new_ms: float
    ratio: Spread
    control: Spread
    base_to_peer: float  # nn.LSTM's time over ours, in the same process and round
    new_to_peer: float

    @property
    def verdict(self) -> str:
        """`faster`, `slower` or `same`."""
        return verdict(self.ratio, self.control)


def make_row(shape: str, measure: str, times: Times) -> Row:
    """The row of a shape and a measure."""

    def ratios(over: tuple[str, str], under: tuple[str, str]) -> list[float]:
        return [a / b for a, b in zip(times[over], times[under], strict=True)]

    return Row(
        shape,
        measure,
        statistics.median(times[OURS, BASE]) * 1e3,
        statistics.median(times[OURS, NEW]) * 1e3,
        spread(ratios((OURS, BASE), (OURS, NEW))),
        spread(ratios((PEER, BASE), (PEER, NEW))),
        statistics.median(ratios((PEER, BASE), (OURS, BASE))),
        statistics.median(ratios((PEER, NEW), (OURS, NEW))),
    )


def table(rows: Iterable[Row]) -> str:
    """The rows as text, and the mean of each measure."""
    rows = list(rows)
    head = (
        f"{'shape':16} {'measure':16} {'base ms':>9} {'new ms':>9}  {'base/new':17} "
        f"{'control':17} {'vs nn.LSTM':>12}  verdict"
    )
    lines = [
        f"{row.shape:16} {row.measure:16} {row.base_ms:9.3f} {row.new_ms:9.3f}  {row.ratio!s:17} "
        f"{row.control!s:17} {row.base_to_peer:5.2f} {row.new_to_peer:6.2f}  {row.verdict}"
        for row in rows
    ]
    means = []
    for measure in dict.fromkeys(row.measure for row in rows):
        own = [row for row in rows if row.measure == measure]
        ratio, control = (
            statistics.geometric_mean(s.median for s in column)
            for column in ([row.ratio for row in own], [row.control for row in own])
        )
        means.append(f"geometric mean, {measure}: {ratio:.3f}, control {control:.3f}")
    return "\n".join([head, *lines, *means])
