"""Text coloured by what a unit remembers: as HTML, and as a picture."""

from collections.abc import Sequence
from html import escape

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fastlstm.rnnlm.inspect.style import DIVERGING, columns, monospace

MAP = colormaps[DIVERGING]  # looked up once: each look makes a copy
WIDTH, LINES = 100, 14  # of a picture, in characters


def colour(value: float) -> str:
    """Of a value in -1..1: blue below 0, white at 0, red above; pale enough to read black on."""
    return to_hex(MAP(0.5 + 0.34 * max(-1.0, min(1.0, value))))


def text_html(pieces: Sequence[str], values: Sequence[float], hints: Sequence[str]) -> str:
    """A block of text, each token on the colour of its value, with a hint when pointed at."""
    spans = (
        f'<span style="background:{colour(value)}" title="{escape(hint)}">{_visible(piece)}</span>'
        for piece, value, hint in zip(pieces, values, hints, strict=True)
        if piece
    )
    return f'<pre class="text">{"".join(spans)}</pre>'


def _visible(piece: str) -> str:
    """A token for HTML: a line end is shown before it is one."""
    return escape(piece).replace("\n", "\u21b5\n")


def text_figure(pieces: Sequence[str], rows: Sequence[tuple[str, Sequence[float]]]) -> Figure:
    """The same text once for each (title, values)."""
    cells = lay_out(pieces)
    lines = 1 + max((line for line, _, _, _ in cells), default=0)
    figure = Figure(figsize=(11, (0.19 * lines + 0.4) * len(rows)), layout="constrained")
    for axes, (title, values) in zip(
        figure.subplots(len(rows), 1, squeeze=False)[:, 0], rows, strict=True
    ):
        axes.set_title(title, loc="left", fontsize=9)
        _draw_text(axes, cells, values, lines)
    return figure


def lay_out(pieces: Sequence[str]) -> list[tuple[int, int, str, int]]:
    """Where each character stands: line, column, the character, and its token's number."""
    cells = []
    line = column = 0
    for token, piece in enumerate(pieces):
        for character in piece:
            if character == "\n":
                cells.append((line, column, " ", token))
                line, column = line + 1, 0
            else:
                if column + columns(character) > WIDTH:
                    line, column = line + 1, 0
                if line < LINES:
                    cells.append((line, column, character, token))
                column += columns(character)
            if line >= LINES:
                return cells
    return cells


def _draw_text(
    axes: Axes, cells: list[tuple[int, int, str, int]], values: Sequence[float], lines: int
) -> None:
    families = monospace()
    patches, colours = [], []
    for line, column, character, token in cells:
        wide = columns(character)
        patches.append(Rectangle((column, line), wide, 1))
        colours.append(colour(values[token]))
        if character.isprintable() and character != " ":
            axes.text(
                column + wide / 2, line + 0.74, character, ha="center", va="baseline",
                family=families, in_layout=False, fontsize=11, parse_math=False,
            )  # fmt: skip
    axes.add_collection(PatchCollection(patches, facecolors=colours, linewidths=0), autolim=False)
    axes.set(xlim=(0, WIDTH), ylim=(lines, 0))
    axes.set_axis_off()
