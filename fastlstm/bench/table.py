"""The figures as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import geometric_mean

from rich.console import Console
from rich.table import Table

from fastlstm.bench.case import DECODE, PASSES
from fastlstm.bench.row import BASELINE, Row

WINNER, OURS, LOSER = "bold green", "bold", "red"


def print_tables(console: Console, rows: Sequence[Row]) -> None:
    """One table for each pass and its metric, then the geometric means of our ratios."""
    for measure in (*PASSES, DECODE):
        times = [row for row in rows if row.measure == measure and row.metric == "time"]
        if times:
            console.print(time_table(times))
            console.print(_summary(times))
            console.print()
    for metric in ("peak memory", "saved for backward", "speed"):
        chosen = [row for row in rows if row.metric == metric]
        if chosen:
            console.print(comparison_table(chosen))
            console.print()


def shape_of(row: Row) -> str:
    """A row's shape for people."""
    text = f"{row.I}, {row.H}, {row.layers}, {row.B}, {row.T}"
    text += " bi" * (row.directions == 2) + " ragged" * (row.lengths == "ragged")
    return text + f" {row.dtype}" * (row.dtype != "float32")


def by_shape(rows: Iterable[Row]) -> dict[str, dict[str, Row]]:
    """Shape, then provider, to row, in the order of the rows."""
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        found.setdefault(shape_of(row), {})[row.provider] = row
    return found


def time_table(rows: Sequence[Row]) -> Table:
    """How many times faster than nn.LSTM every provider is, and how near the limits ours."""
    unit = rows[0].unit
    title = f"{rows[0].measure}: how many times as fast as nn.LSTM (~: no difference shown)"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    # the one that fastlstm.LSTM takes stands first
    names = dict.fromkeys(row.provider for row in sorted(rows, key=lambda row: not row.auto))
    others = [name for name in names if name != BASELINE]
    heads = [f"{BASELINE}\n{unit}", f"ours\n{unit}", *(name.replace(" ", "\n") for name in others)]
    _add_columns(table, [*heads, "share of\nGEMM rate", f"floor\n{unit}"])
    for shape, found in by_shape(rows).items():
        best = min(found.values(), key=lambda row: row.p50)
        ours = next((row for row in found.values() if row.auto), None)
        cells = [shape, _time(found.get(BASELINE), best), _time(ours, best)]
        cells += [_ratio(found.get(name), best) for name in others]
        limit = ours or best
        cells += [f"{limit.gemm_share or 0:.0%}", f"{limit.floor or 0:.3g}"]
        table.add_row(*cells)
    return table


def comparison_table(rows: Sequence[Row]) -> Table:
    """Memory or speed: the value of every provider, and how many times better ours is."""
    unit = "MiB" if rows[0].unit == "bytes" else rows[0].unit
    names = list(dict.fromkeys(row.provider for row in rows))
    title = f"{rows[0].metric} of a training step, {unit}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    _add_columns(table, [*(name.replace(" ", "\n") for name in names), "ours"])
    trainer = rows[0].unit == "tokens/s"
    for shape, found in by_shape(rows).items():
        ours = next((row for row in found.values() if row.auto), None)
        label = f"{shape}: {next(iter(found.values())).measure}" if trainer else shape
        cells = [_value(found.get(name)) for name in names]
        table.add_row(label, *cells, f"{ours.ratio:.2f}x" if ours and ours.ratio else "")
    return table


def _add_columns(table: Table, heads: Sequence[str]) -> None:
    table.add_column("I, H, L, B, T", no_wrap=True)
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)


def inconclusive(row: Row) -> bool:
    """Whether the spread of a ratio holds 1."""
    return None not in (row.ratio_p20, row.ratio_p80) and row.ratio_p20 <= 1 <= row.ratio_p80  # type: ignore[operator]


def _summary(rows: Sequence[Row]) -> str:
    """The geometric mean, the worst and the best of the default backend's ratios."""
    ratios = [row.ratio for row in rows if row.auto and row.ratio]
    if not ratios:
        return ""
    return (
        f"fastlstm, shapes measured: {len(ratios)}; geometric mean {geometric_mean(ratios):.2f}x, "
        f"lowest {min(ratios):.2f}x, highest {max(ratios):.2f}x"
    )


def _time(row: Row | None, best: Row) -> str:
    if row is None:
        return ""
    text = f"{row.p50:.3g}" if row.p50 < 100 else f"{row.p50:.0f}"
    return f"[{WINNER}]{text}[/]" if row is best else text


def _ratio(row: Row | None, best: Row) -> str:
    if row is None or row.ratio is None:
        return "-"
    text = ("~" if inconclusive(row) else "") + f"{row.ratio:.2f}x"
    if row is best:
        return f"[{WINNER}]{text}[/]"
    if not row.auto:
        return text
    return f"[{LOSER if row.ratio < 1 else OURS}]{text}[/]"


def _value(row: Row | None) -> str:
    if row is None:
        return "-"
    return f"{row.p50 / 2**20:.2f}" if row.unit == "bytes" else f"{row.p50:,.0f}"
