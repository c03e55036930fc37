"""Pictures of a run against what the machine has: arithmetic, bandwidth and memory."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.transforms import offset_copy

from fastlstm.bench.case import FORWARD, INFERENCE, TRAINING, Case
from fastlstm.bench.plot_style import (
    BLACK,
    BLUE,
    GREY,
    digits,
    name_axes,
    panels_of,
    round_ticks,
    sheet,
    short,
    stacked,
    titled,
)
from fastlstm.bench.row import BASELINE, Row
from fastlstm.verify_cases import DTYPES

METRICS = ("peak memory", "saved for backward")
MOST_SHAPES = 30  # bars of more would not fit on a page
LABELS = {True: "fastlstm", False: BASELINE}  # by `Row.auto`


def roofline_figure(rows: Sequence[Row]) -> Figure | None:
    """Arithmetic achieved over the arithmetic for each byte of weights, under the measured limits.

    Two points for each shape: fastlstm's default and nn.LSTM.
    """
    measures = (INFERENCE, TRAINING)
    chosen = _compared(r for r in rows if r.metric == "time" and r.measure in measures)
    if not chosen:
        return None
    panels = stacked(panels_of({(row.dtype, row.measure) for row in chosen}, measures))
    note = (
        "A line joins the results of one shape; of equal intensities small H stands to the left."
        " Limits: rates of a large GEMM, and of reading a matrix of that size at each step, for"
        " backward once more."
    )
    legend = [Line2D([], [], **_marker(ours), label=LABELS[ours]) for ours in _present(chosen)]
    legend.append(Line2D([], [], color=GREY, lw=1, label="measured limits of the machine"))
    title = "Arithmetic achieved: higher is better"
    figure, grid = sheet(chosen, title, note, panels, [2.7] * len(panels), legend, sharex=True)
    machine = [row for row in rows if row.provider == "machine" and row.metric == "rate"]
    intensities = [_intensity(row.case) for row in chosen]
    for axes, (dtype, measure) in titled(grid, panels):
        axes.set(xscale="log", yscale="log")
        axes.set_xlim(round_ticks(axes.xaxis, min(intensities) / 8, 1.5 * max(intensities)))
        _points(axes, [row for row in chosen if (row.dtype, row.measure) == (dtype, measure)])
        # backward has twice the arithmetic of forward for as many readings
        worth = 1.5 if measure == TRAINING else 1.0
        limits = [row for row in machine if row.unit == "GB/s" or row.dtype == dtype]
        _limits(figure, axes, limits, worth)
        axes.set_ylim(round_ticks(axes.yaxis, axes.dataLim.ymin, 1.6 * axes.dataLim.ymax))
    name_axes(grid, "FLOP per byte of weights read at each step", "GFLOP/s")
    return figure


def _compared(rows: Iterable[Row]) -> list[Row]:
    """The rows of fastlstm's default and, for the same case, of nn.LSTM."""
    pair = [row for row in rows if row.p50 > 0 and (row.auto or row.provider == BASELINE)]
    ours = {(row.case, row.measure, row.metric) for row in pair if row.auto}
    return [row for row in pair if (row.case, row.measure, row.metric) in ours]


def _present(rows: Iterable[Row]) -> list[bool]:
    """The keys of `LABELS` that there are rows of."""
    return sorted({row.auto for row in rows}, reverse=True)


def _intensity(case: Case) -> float:
    return case.flops(FORWARD) / (case.weight_bytes() * case.T)


def _points(axes: Axes, rows: Iterable[Row]) -> None:
    """Both points of each shape; intensity depends on little but B, so many shapes share one."""
    shapes: dict[float, dict[Case, dict[bool, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        case = row.case
        # FLOP in a ms are 1e6 GFLOP/s
        shapes[_intensity(case)][case][row.auto] = case.flops(row.measure) / row.p50 / 1e6
    for intensity, pairs in shapes.items():
        step = min(1.06, 1.5 ** (1 / len(pairs)))
        for index, case in enumerate(sorted(pairs, key=lambda case: (case.H, case.T, str(case)))):
            x = intensity * step ** (index - (len(pairs) - 1) / 2)
            pair = pairs[case]
            axes.plot([x] * len(pair), list(pair.values()), color=BLUE, lw=0.8)
            for ours, rate in sorted(pair.items()):
                axes.plot(x, rate, **_marker(ours), zorder=3)


def _marker(ours: bool) -> dict[str, Any]:
    if ours:
        return {"ls": "", "marker": "o", "ms": 4, "color": BLUE}
    return {"ls": "", "marker": "s", "ms": 4, "mew": 0.8, "color": BLACK, "mfc": "white"}


def _limits(figure: Figure, axes: Axes, rows: Sequence[Row], worth: float) -> None:
    """The machine's limits, named at the left end of the axis, where there are no points."""
    low, high = axes.get_xlim()
    gemm = max((row.p50 for row in rows if row.measure == "gemm"), default=math.inf)
    if gemm < math.inf:
        _limit(figure, axes, [low, high], [gemm, gemm], f"GEMM: {digits(gemm)} GFLOP/s")
    reading = [row for row in rows if row.measure == "gemv"]
    rates = {row.I * row.H * DTYPES[row.dtype].itemsize / 2**20: row.p50 for row in reading}
    drawn: list[float] = []
    # the memory's first, then from the innermost cache: of two too close to be written, the first
    for size in sorted(rates, key=lambda size: (size != max(rates), size)):
        rate, slope = rates[size], rates[size] * worth
        end = min(high, gemm / slope)
        if end > 2 * low and all(max(rate, one) > 1.5 * min(rate, one) for one in drawn):
            text = f"{size:g} MiB: {digits(rate)} GB/s"
            _limit(figure, axes, [low, end], [low * slope, end * slope], text)
            drawn.append(rate)


def _limit(figure: Figure, axes: Axes, x: Sequence[float], y: Sequence[float], text: str) -> None:
    axes.plot(x, y, color=GREY, lw=1, zorder=1)
    angle = math.degrees(math.atan2(y[1] - y[0], x[1] - x[0]))
    above = offset_copy(axes.transData, figure, 4, 2.5, units="points")
    axes.text(
        x[0], y[0], text, color=GREY, fontsize=8, transform=above,
        rotation=angle, rotation_mode="anchor", transform_rotates_text=True,
    )  # fmt: skip


def memory_figure(rows: Sequence[Row]) -> Figure | None:
    """Peak memory of a training step and what it saves for backward, as bars for each shape."""
    chosen = _compared(r for r in rows if r.measure == TRAINING and r.metric in METRICS)
    if not chosen:
        return None
    panels = panels_of({(row.dtype, row.metric) for row in chosen}, METRICS)
    most = MOST_SHAPES // len(panels)
    largest: dict[str, dict[Case, None]] = defaultdict(dict)
    for row in sorted(chosen, key=lambda row: -row.p50):
        largest[row.dtype][row.case] = None
    cases = {dtype: list(found)[:most] for dtype, found in largest.items()}
    note = (
        "In MiB. Peak: pages in use; saved: bytes allocated, used or not"
        + f", the {most} largest shapes" * any(len(c) > most for c in largest.values())
    )
    legend = [Patch(**_bar(ours), label=LABELS[ours]) for ours in _present(chosen)]
    title = "Memory of a training step: shorter is better"
    heights = [0.6 + 0.3 * len(cases[line[0][0]]) for line in panels]
    figure, grid = sheet(chosen, title, note, panels, heights, legend, sharex="col", sharey="row")
    for axes, panel in titled(grid, panels):
        shown = cases[panel[0]]
        _bars(axes, [row for row in chosen if (row.dtype, row.metric) == panel], shown)
        axes.set_yticks(range(len(shown)), map(short, shown))
        axes.set(ylim=(len(shown) - 0.5, -0.5))
    return figure


def _bar(ours: bool) -> dict[str, Any]:
    if ours:
        return {"facecolor": BLUE, "edgecolor": BLUE, "linewidth": 0.8}
    return {"facecolor": "white", "edgecolor": BLACK, "linewidth": 0.8, "hatch": "/////"}


def _bars(axes: Axes, rows: Iterable[Row], cases: Sequence[Case]) -> None:
    for row in rows:
        if row.case in cases:
            y = cases.index(row.case) + (-0.2 if row.auto else 0.2)
            size = row.p50 / 2**20
            axes.barh(y, size, 0.36, **_bar(row.auto))
            axes.text(size, y, f" {digits(size)}", va="center", fontsize=8)
    if axes.patches:
        axes.set_xlim(0, 1.25 * axes.dataLim.xmax)
