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
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import geometric_mean

from fastlstm.bench.case import DECODE, INFERENCE, TRAINING
from fastlstm.bench.conditions import describe
from fastlstm.bench.row import BASELINE, Row, last_run, read_rows
from fastlstm.bench.table import inconclusive, shape_of

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
SECTION = re.compile(r"<!-- benchmark: (\S+) (\S+) -->\n.*?<!-- benchmark: end -->\n", re.DOTALL)


def section(rows: Sequence[Row], source: str) -> str:
    """The section, from the rows of one run in the file `source`."""
    rows = [row for row in rows if row.dtype == "float32"]
    if {INFERENCE, TRAINING} - {row.measure for row in rows if row.auto}:
        raise SystemExit(f"{source}: this run lacks inference or forward+backward in float32")
    ours = [row for row in rows if row.auto and row.ratio is not None]
    times = [row for row in ours if row.metric == "time" and row.measure in (INFERENCE, TRAINING)]
    grid = [row for row in times if _in_grid(row, times)]
    others = [row for row in times if row not in grid]
    parts = [
        _means(times),
        *_picture(rows, source),
        _grid_table(grid),
        _shape_table(others),
        _decode_table(rows),
        _trainer_table(rows),
        _conditions(rows, source),
    ]
    run = rows[0].run
    text = "\n\n".join(part for part in parts if part)
    return f"<!-- benchmark: {source} {run} -->\n{text}\n<!-- benchmark: end -->\n"


def _in_grid(row: Row, rows: Iterable[Row]) -> bool:
    """Whether it is one of the plain layers of one length over H and B."""
    lengths = [r.T for r in rows if _plain(r)]
    usual = max(set(lengths), key=lengths.count, default=0)
    return _plain(row) and usual == row.T


def _plain(row: Row) -> bool:
    return row.layers == row.directions == 1 and row.I == row.H and row.lengths == "padded"


def _means(rows: Sequence[Row]) -> str:
    """For each pass the mean, and how many shapes differ at all from nn.LSTM."""
    texts = []
    for measure, words in ((INFERENCE, "Inference"), (TRAINING, "Forward and backward")):
        own = [row for row in rows if row.measure == measure]
        means = [
            f"{geometric_mean(r.ratio for r in some):.2f}x over {len(some)} {lengths} shapes"
            for lengths in ("padded", "ragged")
            if (some := [row for row in own if row.lengths == lengths])
        ]
        sure = [row.ratio for row in own if not inconclusive(row)]
        faster = sum(ratio > 1 for ratio in sure)
        texts.append(
            f"{words}: geometric mean {', '.join(means)}; faster in {faster}, slower in "
            f"{len(sure) - faster}, no difference shown in {len(own) - len(sure)}."
        )
    return textwrap.fill(" ".join(texts), 100)


def _picture(rows: Sequence[Row], source: str) -> list[str]:
    time = rows[0].run[11:16].replace(":", "")
    picture = f"{source.removesuffix('.csv')}T{time}-speedup.png"
    return [f"![speed-up over nn.LSTM by H and B]({picture})"] if (ROOT / picture).exists() else []


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
    return ("~" if inconclusive(row) else "") + f"{row.ratio:.2f}x"


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    cells = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _grid_table(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    sizes, batches = sorted({row.H for row in rows}), sorted({row.B for row in rows})
    lines = [
        [str(H), *(_pair(r for r in rows if r.H == H and r.B == B) for B in batches)] for H in sizes
    ]
    head = ["H", *(f"B = {batch}" for batch in batches)]
    title = f"One layer, I = H, T = {rows[0].T}: inference / forward and backward"
    return f"{title}\n\n{_table(head, lines)}"


def _shape_table(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    lines = []
    for shape in dict.fromkeys(map(shape_of, rows)):
        chosen = [row for row in rows if shape_of(row) == shape]
        lines.append([shape, _pair(chosen), _pair(chosen, "gemm_share")])
    head = ["I, H, layers, B, T", "inference / forward and backward", "of the GEMM's FLOP/s"]
    return f"Other shapes\n\n{_table(head, lines)}"


def _decode_table(rows: Sequence[Row]) -> str:
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


def _trainer_table(rows: Sequence[Row]) -> str:
    lines = []
    for r in rows:
        if r.metric == "speed" and r.auto and r.ratio:
            sizes = [f"{r.layers} x {r.H}", f"{r.B} x {r.T}", r.measure.split()[-2]]
            lines.append([*sizes, f"{r.p50:,.0f}", _cell(r)])
    head = ["layers", "batch x window", "vocabulary", "tokens/s", "ratio"]
    return f"The trainer, whole steps\n\n{_table(head, lines)}" if lines else ""


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
        f"{min(rounds)} to {max(rounds)} rounds, float32; "
        f"above 1 is faster, ~ shows no difference: the spread holds 1. Over the rounds "
        f"the middle 60% of a ratio spans "
        f"{statistics.median(spans):.0%} of it (median over the rows). "
        f"{describe(vars(row))}. Rows with their spread, memory and the other "
        f"implementations: [{source}]({source})."
    )
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


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
