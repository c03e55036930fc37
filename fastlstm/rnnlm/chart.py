"""Two curves in one picture of text."""

from itertools import pairwise

BOTH, OURS, THEIRS = "●", "○", "·"


def draw_curves(
    ours: list[float], theirs: list[float], width: int = 64, height: int = 12
) -> list[str]:
    """Lines of a chart of two equally long curves, averaged into `width` columns.

    A point where both curves fall into the same cell is drawn as `BOTH`. The left margin holds the
    largest and the smallest value.
    """
    first, second = _columns(ours, width), _columns(theirs, width)
    low, high = min(first + second), max(first + second)
    scale = (height - 1) / (high - low) if high > low else 0.0
    grid = [[" "] * len(first) for _ in range(height)]
    for x, (a, b) in enumerate(zip(first, second, strict=True)):
        row_a, row_b = round((high - a) * scale), round((high - b) * scale)
        grid[row_b][x] = THEIRS
        grid[row_a][x] = BOTH if row_a == row_b else OURS
    margins = [f"{high:8.4f}", *[" " * 8] * (height - 2), f"{low:8.4f}"]
    return [f"{left} │{''.join(row)}" for left, row in zip(margins, grid, strict=True)]


def _columns(curve: list[float], width: int) -> list[float]:
    """Means over equal stretches of a curve, at most `width` of them."""
    columns = min(width, len(curve))
    edges = [len(curve) * column // columns for column in range(columns + 1)]
    stretches = [curve[a:b] for a, b in pairwise(edges)]
    return [sum(stretch) / len(stretch) for stretch in stretches]
