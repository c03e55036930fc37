"""What all pictures of a run share: colours, names, and the sheet with title and conditions."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from fastlstm.bench.case import Case
from fastlstm.bench.conditions import describe
from fastlstm.bench.row import BASELINE, Row
from fastlstm.verify_cases import DTYPES

Panel = tuple[str, str]  # dtype and measure, or metric

STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "hatch.linewidth": 0.6,
    "savefig.dpi": 200,
}
LEGEND_COLUMNS = 3
# Okabe and Ito's colours, which stay apart for colour-blind readers; without their yellow, which
# does not show on white. Marker and dashes differ too, for prints in grey.
BLACK, BLUE, ORANGE, GREY = "#000000", "#0072B2", "#E69F00", "#767676"
LINES: Sequence[tuple[str, str, Any]] = [
    (BLUE, "o", "-"),
    ("#D55E00", "^", "--"),
    ("#009E73", "D", "-."),
    ("#CC79A7", "v", (0, (5, 1, 1, 1, 1, 1))),
    (ORANGE, "P", (0, (3, 1))),
    ("#56B4E9", "X", (0, (1, 1))),
]
# Slower is light and faster is dark, so that the two ends differ in grey as well.
DIVERGING = LinearSegmentedColormap.from_list("slower-faster", [ORANGE, "#FFFFFF", "#00568A"])


def text_colour(background: tuple[float, float, float, float]) -> str:
    """Black or white, whichever has more contrast (WCAG 2) with a background `(r, g, b, a)`."""
    weighted = zip((0.2126, 0.7152, 0.0722), background, strict=False)
    return BLACK if sum(weight * part**2.2 for weight, part in weighted) > 0.18 else "#FFFFFF"


def line_styles(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """How the line of each provider looks: nn.LSTM's is black; then come defaults, then others."""
    present, defaults = {row.provider for row in rows}, {row.provider for row in rows if row.auto}
    others = sorted(present - {BASELINE}, key=lambda name: (name not in defaults, name.lower()))
    styles = [(BLACK, "s", "-", BLACK)]
    for index in range(len(others)):
        turn, place = divmod(index, len(LINES))
        colour, marker, _ = LINES[place]
        # when the colours come round again, markers are hollow and dashes are another's
        dashes = LINES[(place + turn) % len(LINES)][2]
        styles.append((colour, marker, dashes, "white" if turn else colour))
    keys = ("color", "marker", "linestyle", "markerfacecolor")
    looks = (dict(zip(keys, style, strict=True)) for style in styles)
    named = zip([BASELINE, *others], looks, strict=True)
    return {name: {**look, "markersize": 4.5, "lw": 1.5} for name, look in named if name in present}


def short(case: Case) -> str:
    """A shape as `H128 B16 T64`: width of the input and layers only where they are unusual."""
    text = (
        f"I{case.I} " * (case.I != case.H) + f"H{case.H} " + f"L{case.layers} " * (case.layers > 1)
    )
    return text + f"B{case.B} T{case.T}" + " bi" * case.bidirectional + " ragged" * case.ragged


def counted_layers(layers: int) -> str:
    """`1 layer`, `2 layers`."""
    return f"{layers} layer" + "s" * (layers > 1)


def plain(value: float) -> str:
    """A number without an exponent: 0.05, 2, 1024, 50,000."""
    return f"{value:,.9g}" if value >= 10000 else f"{value:.9g}"


def digits(value: float) -> str:
    """A number with three digits or all whole ones: 0.0123, 1.23, 12.3, 1234, 52,000."""
    return plain(round(value)) if value >= 99.95 else f"{value:#.3g}"


def set_ticks(axis: Axis, values: Sequence[float]) -> None:
    """Plain numbers at these places of a logarithmic axis, and at no others."""
    axis.set_major_locator(FixedLocator(values))
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    axis.set_minor_locator(NullLocator())


def round_ticks(axis: Axis, low: float, high: float) -> tuple[float, float]:
    """Ticks at 1, 2, 5, 10, ... or, over many decades, 1, 10, ...; the limits that end on them."""
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    steps = [step * 10.0**decade for decade in decades for step in (1, 2, 5)]
    first = max(step for step in steps if step <= low)
    last = min(step for step in steps if step >= high)
    set_ticks(axis, steps if last < 300 * first else [10.0**decade for decade in decades])
    return first, last


def panels_of(found: Collection[Panel], measures: Sequence[str]) -> list[list[Panel]]:
    """The dtypes, one under another, by those of the measures, side by side, that are there."""
    dtypes = [name for name in DTYPES if name in {dtype for dtype, _ in found}]
    present = [name for name in measures if name in {measure for _, measure in found}]
    return [[(dtype, measure) for measure in present] for dtype in dtypes]


def stacked(panels: Sequence[Sequence[Panel]]) -> list[list[Panel]]:
    """The same panels in one column."""
    return [[panel] for panel in chain(*panels)]


def titled(
    grid: Sequence[Sequence[Axes]], panels: Sequence[Sequence[Panel]]
) -> Iterator[tuple[Axes, Panel]]:
    """Each panel, its title set."""
    for axes, (dtype, measure) in zip(chain(*grid), chain(*panels), strict=True):
        axes.set_title(f"{measure}, {dtype}")
        yield axes, (dtype, measure)


def name_axes(grid: Sequence[Sequence[Axes]], x: str, y: str) -> None:
    """Names at the left and the lower edge of the sheet only."""
    for axes in grid[-1]:
        axes.set_xlabel(x)
    for line in grid:
        line[0].set_ylabel(y)


def sheet(
    rows: Sequence[Row],
    title: str,
    note: str,
    panels: Sequence[Sequence[Panel]],
    heights: Sequence[float],
    legend: Sequence[Line2D | Patch] = (),
    **shared: Any,
) -> tuple[Figure, list[list[Axes]]]:
    """A figure of 7 inches' width and the axes of its panels, each line of them `heights` high.

    Above them title, note and legend; under them the conditions of the rows.
    """
    # lines of conditions end at a comma only: other spaces are made unbreakable
    conditions = describe(asdict(rows[0])).replace(" ", "\N{NO-BREAK SPACE}")
    caption = textwrap.fill(conditions.replace(",\N{NO-BREAK SPACE}", ", "), 112)
    note = textwrap.fill(note, 105)
    above_legend = 0.36 + 0.16 * (note.count("\n") + 1)
    top = above_legend + (0.08 + 0.2 * math.ceil(len(legend) / LEGEND_COLUMNS)) * bool(legend)
    bottom = 0.14 + 0.15 * (caption.count("\n") + 1)
    height, left = top + sum(heights) + bottom, 0.08 / 7
    figure = Figure(figsize=(7, height))
    area = (0, bottom / height, 1, sum(heights) / height)
    figure.set_layout_engine("constrained", rect=area, w_pad=0.06, h_pad=0.05)
    figure.text(left, 1 - 0.08 / height, title, va="top", fontsize=11, fontweight="bold")
    figure.text(left, 1 - 0.34 / height, note, va="top")
    figure.text(left, 0.06 / height, caption, va="bottom", fontsize=8, color="#404040")
    if legend:
        corner = (0, 1 - above_legend / height)
        figure.legend(handles=legend, loc="upper left", bbox_to_anchor=corner, ncols=LEGEND_COLUMNS)
    ratios = {"height_ratios": heights}
    size = len(panels), len(panels[0])
    return figure, figure.subplots(*size, squeeze=False, gridspec_kw=ratios, **shared).tolist()
