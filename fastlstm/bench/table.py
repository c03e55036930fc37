"""The figures as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import geometric_mean

from rich.console import Console
from rich.table import Table

from fastlstm.bench.case import DECODE, INFERENCE, PASSES, TRAINING
from fastlstm.bench.classes import Means, class_means, slower
from fastlstm.bench.row import BASELINE, Row

CLASS_HEADS = ("shapes", INFERENCE, TRAINING, "of the GEMM's rate")
WINNER, OURS, LOSER = "bold green", "bold", "red"


def print_tables(console: Console, rows: Sequence[Row]) -> None:
    """A table for each pass, metric and dtype; then our means by class, and where we are slower."""
    for measure in (*PASSES, DECODE):
        times = [row for row in rows if row.measure == measure and row.metric == "time"]
        for own in by_dtype(times):
            console.print(time_table(own))
            console.print(_summary(own))
            console.print()
    for metric in ("peak memory", "saved for backward", "speed"):
        for own in by_dtype(row for row in rows if row.metric == metric):
            console.print(comparison_table(own))
            console.print()
    means = class_means(rows)
    if means:
        console.print(class_table(means))
        console.print()
        console.print(slower_line(rows), markup=False)


def by_dtype(rows: Iterable[Row]) -> list[list[Row]]:
    """The rows of each dtype, in their order."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.dtype, []).append(row)
    return list(found.values())


def shape_of(row: Row) -> str:
    """A row's shape for people, without its dtype."""
    text = f"{row.I}, {row.H}, {row.layers}, {row.B}, {row.T}"
    return text + " bi" * (row.directions == 2) + " ragged" * (row.lengths == "ragged")


def by_shape(rows: Iterable[Row]) -> dict[str, dict[str, Row]]:
    """Shape, then provider, to row, in the order of the rows, which are of one dtype."""
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        found.setdefault(shape_of(row), {})[row.provider] = row
    return found


def time_table(rows: Sequence[Row]) -> Table:
    """How many times faster than nn.LSTM every provider is, and how near the limits ours."""
    unit = rows[0].unit
    kind = f"{rows[0].measure}, {rows[0].dtype}"
    title = f"{kind}: how many times as fast as nn.LSTM (~: no difference shown)"
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
    title = f"{rows[0].metric} of a training step, {rows[0].dtype}, {unit}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    _add_columns(table, [*(name.replace(" ", "\n") for name in names), "ours"])
    trainer = rows[0].unit == "tokens/s"
    for shape, found in by_shape(rows).items():
        ours = next((row for row in found.values() if row.auto), None)
        label = f"{shape}: {next(iter(found.values())).measure}" if trainer else shape
        cells = [_value(found.get(name)) for name in names]
        table.add_row(label, *cells, f"{ours.ratio:.2f}x" if ours and ours.ratio else "")
    return table


def class_table(means: Sequence[Means]) -> Table:
    """Our geometric means over each class of shapes; of one step only inference is measured."""
    title = "by class: geometric means of our ratios to nn.LSTM in the same dtype"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("class", no_wrap=True)
    for head in CLASS_HEADS:
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("beside", no_wrap=True)
    for own in means:
        table.add_row(own.name, *class_cells(own))
    return table


def class_cells(means: Means) -> list[str]:
    """The cells of a class after its name: one for each of CLASS_HEADS, and what stands beside."""
    ratios, shares = means.ratios, means.shares
    first = ratios.get(INFERENCE) or ratios.get(DECODE)
    cells = [f"{value:.2f}x" if value else "-" for value in (first, ratios.get(TRAINING))]
    share = " / ".join(f"{value:.0%}" for value in shares.values()) or "-"
    beside = ", ".join(f"{name} {value:.2f}x" for name, value in means.beside.items())
    return [str(means.shapes), *cells, share, beside]


def slower_line(rows: Sequence[Row]) -> str:
    """Where our ratio is below 1, the lowest first."""
    found = [f"{row.case} {row.measure} {ratio_of(row)}" for row in slower(rows)]
    return f"Below 1 in {len(found)}: {'; '.join(found)}." if found else "Below 1 in none."


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


def ratio_of(row: Row) -> str:
    """A ratio, with ~ before one whose spread holds 1."""
    return "-" if row.ratio is None else "~" * inconclusive(row) + f"{row.ratio:.2f}x"


def _ratio(row: Row | None, best: Row) -> str:
    if row is None or row.ratio is None:
        return "-"
    text = ratio_of(row)
    if row is best:
        return f"[{WINNER}]{text}[/]"
    if not row.auto:
        return text
    return f"[{LOSER if row.ratio < 1 else OURS}]{text}[/]"


def _value(row: Row | None) -> str:
    if row is None:
        return "-"
    return f"{row.p50 / 2**20:.2f}" if row.unit == "bytes" else f"{row.p50:,.0f}"
