"""Writes where the Triton kernels are faster than cuDNN, from rows of `fastlstm bench`.

`python benchmarks/gpu/choose_sizes.py 90 FILE.csv ...` replaces what fastlstm/backends/triton/
measured.py has of sm_90, where the files were measured. Rows of "fastlstm triton" count.

Exit codes: 0 written, 1 no such row, 2 a wrong argument.
"""

from __future__ import annotations

import argparse
import pprint
import runpy
import sys
from collections.abc import Iterable
from pathlib import Path

from fastlstm.backends.triton.measured import Kind
from fastlstm.bench.case import INFERENCE, TRAINING
from fastlstm.bench.row import Row, read_rows

TABLE = Path(__file__).parents[2] / "fastlstm/backends/triton/measured.py"
PROVIDER = "fastlstm triton"
Ratios = dict[Kind, dict[tuple[int, int], float]]


def ratios_of(rows: Iterable[Row]) -> Ratios:
    """The ratios by kind and size; of several rows of one, the least."""
    found: Ratios = {}
    for row in rows:
        wanted = row.provider == PROVIDER and row.metric == "time" and row.lengths == "padded"
        if not wanted or row.ratio is None or row.measure not in (INFERENCE, TRAINING):
            continue
        kind = Kind(row.dtype, row.measure == TRAINING, row.layers > 1, row.directions == 2)
        sizes = found.setdefault(kind, {})
        size = row.H, row.B
        sizes[size] = min(round(row.ratio, 2), sizes.get(size, float("inf")))
    return found


def rewritten(text: str, table: dict[int, Ratios]) -> str:
    """The module with another table."""
    head, definition, _ = text.partition("= {")
    assert definition, "the table is the last thing in the module"
    return f"{head}{pprint.pformat(table, width=98)}\n".replace("]] {", "]] = {")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("architecture", type=int, help="90: sm_90")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.csv")
    parser.add_argument("--table", type=Path, default=TABLE, help="the module to rewrite")
    args = parser.parse_args()
    found = ratios_of(row for path in args.files for row in read_rows(path))
    if not found:
        print(f"choose_sizes: no rows of {PROVIDER!r} in {', '.join(map(str, args.files))}")
        return 1
    table = runpy.run_path(str(args.table))["MEASURED"] | {args.architecture: found}
    args.table.write_text(rewritten(args.table.read_text(), table))
    count = sum(len(sizes) for sizes in found.values())
    print(f"sm_{args.architecture}: {count} sizes in {len(found)} kinds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
