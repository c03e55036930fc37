"""Pictures of a benchmark run, drawn from its rows alone. Needs matplotlib."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from fastlstm.bench.case import INFERENCE, PASSES, TRAINING
from fastlstm.bench.plot_limits import memory_figure, roofline_figure
from fastlstm.bench.plot_style import (
    DIVERGING,
    GREY,
    STYLE,
    counted_layers,
    line_styles,
    name_axes,
    panels_of,
    round_ticks,
    set_ticks,
    sheet,
    stacked,
    text_colour,
    titled,
)
from fastlstm.bench.row import Row

MOST_CELLS = 14  # side by side, before a cell is narrower than its number
DEEPEST = 3.0  # the ratio of the deepest colour, the same in every run's picture

Cell = tuple[str, str, int, int]  # dtype, measure, H, B


def draw(rows: Sequence[Row], stem: Path) -> list[Path]:
    """Write `<stem>-speedup.png`, `-time`, `-roofline` and `-memory`; returns those written.

    The rows are of one run. A picture for which there are no rows is left out.
    """
    pictures: dict[str, Callable[[Sequence[Row]], Figure | None]] = {
        "speedup": speedup_figure,
        "time": time_figure,
        "roofline": roofline_figure,
        "memory": memory_figure,
    }
    written = []
    with matplotlib.rc_context(STYLE):
        for name, picture in pictures.items():
            figure = picture(rows)
            if figure is not None:
                stem.parent.mkdir(parents=True, exist_ok=True)
                written.append(stem.with_name(f"{stem.name}-{name}.png"))
                figure.savefig(written[-1])
    return written


def speedup_figure(rows: Sequence[Row]) -> Figure | None:
    """How many times faster than nn.LSTM, by hidden size and batch; a panel for each pass.

    Of one T and number of layers: those with most cells where I = H.
    """
    groups: dict[tuple[int, int], dict[Cell, float]] = defaultdict(dict)
    for row in rows:
        plain = row.I == row.H and row.directions == 1 and row.lengths == "padded"
        if plain and row.auto and row.metric == "time" and row.measure in PASSES and row.ratio:
            groups[row.T, row.layers][row.dtype, row.measure, row.H, row.B] = row.ratio
    if not groups:
        return None
    (T, layers), cells = max(groups.items(), key=lambda item: (len(item[1]), item[0]))
    sizes, batches = sorted({H for _, _, H, _ in cells}), sorted({B for _, _, _, B in cells})
    panels = panels_of({(dtype, measure) for dtype, measure, _, _ in cells}, PASSES)
    layouts = (panels, list(zip(*panels, strict=True)))
    fitting = [layout for layout in layouts if len(layout[0]) * len(sizes) <= MOST_CELLS]
    layout = fitting[0] if fitting else stacked(panels)
    title = "Speed-up of fastlstm: above 1 is faster than nn.LSTM"
    note = f"T = {T}, {counted_layers(layers)}, I = H. Blue: faster, orange: slower"
    complete = len(cells) == len(sizes) * len(batches) * sum(map(len, layout))
    note += "." if complete else ", hatched: not measured."
    heights = [0.75 + 0.25 * len(batches)] * len(layout)
    figure, grid = sheet(rows, title, note, layout, heights, sharex=True, sharey=True)
    for axes, panel in titled(grid, layout):
        for (x, H), (y, B) in product(enumerate(sizes), enumerate(batches)):
            _cell(axes, x, y, cells.get((*panel, H, B)))
        axes.set(xlim=(-0.5, len(sizes) - 0.5), ylim=(-0.5, len(batches) - 0.5))
        axes.set_xticks(range(len(sizes)), map(str, sizes))
        axes.set_yticks(range(len(batches)), map(str, batches))
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    name_axes(grid, "hidden size H", "batch B")
    return figure


def _cell(axes: Axes, x: int, y: int, ratio: float | None) -> None:
    cell = Rectangle((x - 0.5, y - 0.5), 1, 1)
    axes.add_patch(cell)
    if ratio is None:
        cell.set(facecolor="#F2F2F2", edgecolor="#BFBFBF", hatch="////", linewidth=0)
        return
    colour = DIVERGING((math.log(ratio, DEEPEST) + 1) / 2)
    cell.set(facecolor=colour, edgecolor="white")
    text = f"{ratio:.2f}x" if ratio < 9.995 else f"{ratio:.1f}x"
    axes.text(x, y, text, ha="center", va="center_baseline", color=text_colour(colour))


def time_figure(rows: Sequence[Row]) -> Figure | None:
    """Time per step of every provider over the number of steps, where several were measured."""
    groups = defaultdict(list)
    for row in rows:
        if row.metric == "time" and row.measure in (INFERENCE, TRAINING) and row.p20 > 0:
            groups[row.I, row.H, row.layers, row.B, row.directions, row.lengths].append(row)
    lengths = {key: len({row.T for row in group}) for key, group in groups.items()}
    if max(lengths.values(), default=0) < 2:
        return None
    key = max(lengths, key=lambda key: (lengths[key], len(groups[key])))
    I, H, layers, B, directions, padding = key
    chosen = groups[key]
    panels = panels_of({(row.dtype, row.measure) for row in chosen}, (INFERENCE, TRAINING))
    styles = line_styles(chosen)
    legend = [Line2D([], [], **style, label=name) for name, style in styles.items()]
    legend.append(Line2D([], [], color=GREY, linestyle=":", linewidth=1, label="lower bound"))
    title = "Time per step: lower is better"
    note = f"I = {I}, H = {H}, {counted_layers(layers)}, B = {B}"
    note += ", bidirectional" * (directions == 2) + ", ragged" * (padding == "ragged")
    note += ". Line: median; band: 20th to 80th percentile."
    heights = [2.7] * len(panels)
    figure, grid = sheet(chosen, title, note, panels, heights, legend, sharex=True, sharey="row")
    for axes, panel in titled(grid, panels):
        axes.set(xscale="log", yscale="log")
        _curves(axes, [row for row in chosen if (row.dtype, row.measure) == panel], styles)
    for line in grid:
        low = min(axes.dataLim.ymin for axes in line)
        high = max(axes.dataLim.ymax for axes in line)
        line[0].set_ylim(round_ticks(line[0].yaxis, low, high))
        set_ticks(line[0].xaxis, _thinned({row.T for row in chosen}))
    name_axes(grid, "steps T", "µs per step")
    return figure


def _thinned(steps: set[int]) -> list[int]:
    """Those of the numbers of steps that can be written side by side."""
    kept = [max(steps)]
    for T in sorted(steps, reverse=True):
        if kept[-1] >= T * (max(steps) / min(steps)) ** 0.1:
            kept.append(T)
    return kept


def _curves(axes: Axes, rows: Sequence[Row], styles: dict[str, dict[str, Any]]) -> None:
    for provider, style in styles.items():
        curve = sorted((row for row in rows if row.provider == provider), key=lambda row: row.T)
        T = [row.T for row in curve]
        # a ms is 1000 µs
        axes.fill_between(
            T,
            [1000 * row.p20 / row.T for row in curve],
            [1000 * row.p80 / row.T for row in curve],
            color=style["color"], alpha=0.2, linewidth=0,
        )  # fmt: skip
        axes.plot(T, [1000 * row.p50 / row.T for row in curve], **style)
    floors = {row.T: 1000 * row.floor / row.T for row in rows if row.floor}
    steps = sorted(floors)
    axes.plot(steps, [floors[T] for T in steps], color=GREY, linestyle=":", linewidth=1)
