"""Write README.md's section on speed from a run of `fastlstm bench`.

    python benchmarks/readme.py benchmarks/results/MACHINE-DATE.csv    the file's last run
    python benchmarks/readme.py --check                                 is README.md what it says?

The section stands between two comments; the first names the file and the run, so that --check can
make it anew.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from readme_tables import class_table, decode_table, shape_tables, trainer_table

from fastlstm.bench.case import INFERENCE, TRAINING
from fastlstm.bench.conditions import describe
from fastlstm.bench.row import Row, last_run, read_rows
from fastlstm.bench.table import by_dtype, inconclusive, slower_line

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
SECTION = re.compile(r"<!-- benchmark: (\S+) (\S+) -->\n.*?<!-- benchmark: end -->\n", re.DOTALL)


def section(rows: Sequence[Row], source: str) -> str:
    """The section, from the rows of one run in the file `source`."""
    single = [row for row in rows if row.dtype == "float32"]
    if {INFERENCE, TRAINING} - {row.measure for row in single if row.auto}:
        raise SystemExit(f"{source}: this run lacks inference or forward+backward in float32")
    ours = [row for row in rows if row.auto and row.ratio is not None]
    times = [row for row in ours if row.metric == "time" and row.measure in (INFERENCE, TRAINING)]
    parts = [class_table(rows), _counts(times), _fill(slower_line(rows)), *_picture(rows, source)]
    for own in by_dtype(times):
        parts += shape_tables(own)
    parts += [decode_table(single), trainer_table(single), _conditions(rows, source)]
    run = rows[0].run
    text = "\n\n".join(part for part in parts if part)
    return f"<!-- benchmark: {source} {run} -->\n{text}\n<!-- benchmark: end -->\n"


def _counts(rows: Sequence[Row]) -> str:
    """For each pass, how many shapes differ at all from nn.LSTM."""
    texts = []
    for measure, words in ((INFERENCE, "Inference"), (TRAINING, "Forward and backward")):
        own = [row for row in rows if row.measure == measure]
        sure = [row.ratio for row in own if not inconclusive(row)]
        faster = sum(ratio > 1 for ratio in sure)
        texts.append(
            f"{words}: faster in {faster} shapes, slower in {len(sure) - faster}, no difference "
            f"shown in {len(own) - len(sure)}."
        )
    return _fill(" ".join(texts))


def _fill(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def _picture(rows: Sequence[Row], source: str) -> list[str]:
    time = rows[0].run[11:16].replace(":", "")
    picture = f"{source.removesuffix('.csv')}T{time}-speedup.png"
    return [f"![speed-up over nn.LSTM by H and B]({picture})"] if (ROOT / picture).exists() else []


def _conditions(rows: Sequence[Row], source: str) -> str:
    row = rows[0]
    rounds = [r.rounds for r in rows if r.auto and r.metric == "time"]
    spans = [
        (r.ratio_p80 - r.ratio_p20) / r.ratio
        for r in rows
        if r.auto and r.metric == "time" and r.ratio and r.ratio_p20 and r.ratio_p80
    ]
    text = (
        f"Ratios to nn.LSTM in the same process, in turn, medians of "
        f"{min(rounds)} to {max(rounds)} rounds, in float32 where no dtype is named; "
        f"above 1 is faster, ~ shows no difference: the spread holds 1. Over the rounds "
        f"the middle 60% of a ratio spans "
        f"{statistics.median(spans):.0%} of it (median over the rows). "
        f"{describe(vars(row))}. Rows with their spread, memory and the other "
        f"implementations: [{source}]({source})."
    )
    return _fill(text)


def run_of(path: Path, run: str) -> list[Row]:
    """The rows of one run of a file."""
    return [row for row in read_rows(path) if row.run == run]


def main() -> int:
    """Write the section, or check it; 1 if it is not what the file says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("csv", type=Path, nargs="?")
    parser.add_argument("--run", help="the run's time as in the column of that name; default: last")
    parser.add_argument("--check", action="store_true", help="change nothing")
    args = parser.parse_args()
    text = README.read_text()
    found = SECTION.search(text)
    if found is None:
        raise SystemExit(f"{README} has no section between <!-- benchmark: … --> comments")
    if args.csv is None:
        source, rows = found[1], run_of(ROOT / found[1], found[2])
    else:
        source = args.csv.resolve().relative_to(ROOT).as_posix()
        rows = run_of(args.csv, args.run) if args.run else last_run(read_rows(args.csv))
        if not rows:
            raise SystemExit(f"{args.csv} has no run {args.run!r}")
    new = section(rows, source)
    if args.check:
        print("README.md is up to date" if new == found[0] else "README.md is stale")
        return int(new != found[0])
    README.write_text(text.replace(found[0], new))
    return 0


if __name__ == "__main__":
    sys.exit(main())
