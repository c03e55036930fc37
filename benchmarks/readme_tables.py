"""The tables of README.md's section on speed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fastlstm.bench.case import DECODE, INFERENCE, TRAINING
from fastlstm.bench.classes import class_means
from fastlstm.bench.row import BASELINE, Row
from fastlstm.bench.table import class_cells, ratio_of, shape_of


def class_table(rows: Sequence[Row]) -> str:
    """Geometric means over each class of shapes."""
    head = ["class", "shapes", "inference", "forward and backward", "of the GEMM's FLOP/s"]
    lines = [[means.name, *class_cells(means)] for means in class_means(rows)]
    if any(line[-1] for line in lines):
        head.append("beside")
    else:
        lines = [line[:-1] for line in lines]
    return f"Geometric means of the ratios to nn.LSTM, by class\n\n{_table(head, lines)}"


def shape_tables(rows: Sequence[Row]) -> list[str]:
    """Our ratios in one dtype: the plain layers of the usual length over H and B, then the rest."""
    lengths = [row.T for row in rows if _plain(row)]
    usual = max(set(lengths), key=lengths.count, default=0)
    grid = [row for row in rows if _plain(row) and usual == row.T]
    others = [row for row in rows if row not in grid]
    return [part for part in (_grid_table(grid), _other_table(others)) if part]


def _plain(row: Row) -> bool:
    return row.layers == row.directions == 1 and row.I == row.H and row.lengths == "padded"


def _grid_table(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    sizes, batches = sorted({row.H for row in rows}), sorted({row.B for row in rows})
    lines = [
        [str(H), *(_pair(r for r in rows if r.H == H and r.B == B) for B in batches)] for H in sizes
    ]
    head = ["H", *(f"B = {batch}" for batch in batches)]
    title = f"One layer, I = H, T = {rows[0].T}{_dtype(rows)}: inference / forward and backward"
    return f"{title}\n\n{_table(head, lines)}"


def _other_table(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    lines = []
    for shape in dict.fromkeys(map(shape_of, rows)):
        chosen = [row for row in rows if shape_of(row) == shape]
        lines.append([shape, _pair(chosen), _pair(chosen, "gemm_share")])
    head = ["I, H, layers, B, T", "inference / forward and backward", "of the GEMM's FLOP/s"]
    return f"Other shapes{_dtype(rows)}\n\n{_table(head, lines)}"


def _dtype(rows: Sequence[Row]) -> str:
    dtype = rows[0].dtype
    return f", {dtype}" * (dtype != "float32")


def _pair(rows: Iterable[Row], name: str = "ratio") -> str:
    """Inference and training, side by side."""
    found = {row.measure: row for row in rows}
    return " / ".join(_cell(found.get(measure), name) for measure in (INFERENCE, TRAINING))


def _cell(row: Row | None, name: str = "ratio") -> str:
    """A ratio, with ~ before one whose spread holds 1; or a share."""
    if row is None or getattr(row, name) is None:
        return "-"
    if name == "gemm_share":
        return f"{row.gemm_share:.0%}"
    return ratio_of(row)


def decode_table(rows: Sequence[Row]) -> str:
    """Our latencies of one step; empty if none was measured."""
    lines = []
    for row in rows:
        if row.measure == DECODE and row.auto and row.ratio:
            peer = next(r for r in rows if r.provider == BASELINE and _same(r, row))
            sizes = [str(row.H), str(row.layers)]
            lines.append([*sizes, f"{row.p50:.1f}", f"{peer.p50:.1f}", _cell(row)])
    head = ["H", "layers", "µs", "µs, nn.LSTM", "ratio"]
    return f"One step of one sequence, I = H\n\n{_table(head, lines)}" if lines else ""


def _same(a: Row, b: Row) -> bool:
    return (a.shape, a.measure, a.metric) == (b.shape, b.measure, b.metric)


def trainer_table(rows: Sequence[Row]) -> str:
    """Our speeds of whole training steps; empty if none was measured."""
    lines = []
    for r in rows:
        if r.metric == "speed" and r.auto and r.ratio:
            sizes = [f"{r.layers} x {r.H}", f"{r.B} x {r.T}", r.measure.split()[-2]]
            lines.append([*sizes, f"{r.p50:,.0f}", _cell(r)])
    head = ["layers", "batch x window", "vocabulary", "tokens/s", "ratio"]
    return f"The trainer, whole steps\n\n{_table(head, lines)}" if lines else ""


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    cells = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
