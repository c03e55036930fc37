"""The last run of a folder of benchmark rows, short: `python .../summary.py FOLDER cuda|cpu`.

One line for each shape and pass; for each dtype the time of fastlstm's default backend and of
nn.LSTM in ms, their ratio, and what share of a large GEMM's FLOP/s fastlstm reaches.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from fastlstm.bench.case import FORWARD
from fastlstm.bench.row import BASELINE, Row, last_run, read_rows

LINES = 40
CELL = "{:>9} {:>9} {:>7} {:>5}"
MS = {"ms": 1.0, "us": 1e-3}


def rows_in(folder: Path) -> list[Row]:
    """The rows of the folder's files that are of this kind."""
    rows = []
    for path in sorted(folder.glob("*.csv")):
        try:
            rows += read_rows(path)
        except ValueError:  # another kind of table
            continue
    return rows


def label(row: Row) -> str:
    """The shape and the pass of a row."""
    text = "I{} H{} L{} B{} T{}".format(*row.shape)
    text += " bi" * (row.directions == 2) + " ragged" * (row.lengths == "ragged")
    return f"{text:<31} {row.measure:<16}"


def cell(ours: Row | None, peer: Row | None) -> str:
    """The figures of one shape, pass and dtype."""
    times = [f"{row.p50 * MS[row.unit]:.4g}" if row else "-" for row in (ours, peer)]
    ratio = f"{ours.ratio:.2f}x" if ours and ours.ratio else "-"
    share = f"{ours.gemm_share:.0%}" if ours and ours.gemm_share is not None else "-"
    return CELL.format(*times, ratio, share)


def table(rows: Iterable[Row]) -> list[str]:
    """The lines, at most LINES of them."""
    times = [row for row in rows if row.metric == "time" and row.measure != FORWARD]
    times = [row for row in times if row.auto or row.provider == BASELINE]
    found = {(label(row), row.dtype, row.auto): row for row in times}
    dtypes = list(dict.fromkeys(row.dtype for row in times))
    head = f"{times[0].device}, torch {times[0].torch}, run {times[0].run}"
    heads = CELL.format("fastlstm", BASELINE, "ratio", "GEMM")
    lines = [head, " " * 48 + "   ".join(f"{name:^{len(heads)}}" for name in dtypes).rstrip()]
    lines.append(" " * 48 + "   ".join(heads for _ in dtypes))
    for name in dict.fromkeys(label(row) for row in times):
        cells = [cell(found.get((name, d, True)), found.get((name, d, False))) for d in dtypes]
        lines.append(f"{name} " + "   ".join(cells))
    if len(lines) > LINES:
        lines[LINES - 1 :] = [f"... and {len(lines) - LINES + 1} more, in the CSV"]
    return lines


def main() -> int:
    folder, device = Path(sys.argv[1]), sys.argv[2]
    there = [row for row in rows_in(folder) if bool(row.cudnn) == (device == "cuda")]
    rows = [row for row in last_run(there) if row.metric == "time"]
    if not rows:
        print(f"no benchmark rows of {device} in {folder}")
        return 1
    print("\n".join(table(rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
