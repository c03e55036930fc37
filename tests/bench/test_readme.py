"""README's section on speed is what a file of rows says."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from made_up_rows import make_row, make_rows

from fastlstm.bench.case import DECODE, INFERENCE, TRAINING, Case
from fastlstm.bench.row import read_rows, write_rows

ROOT = Path(__file__).parents[2]


@pytest.fixture
def readme(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import readme

    return readme


def test_the_section_is_what_its_file_says():
    command = [sys.executable, "benchmarks/readme.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def made_up_run():
    grid = [Case(H, H, 1, B, 64) for H in (64, 128) for B in (1, 32)]
    rows = make_rows([*grid, Case(40, 128, 3, 1, 100), Case(64, 64, 1, 16, 32, bidirectional=True)])
    step = Case(128, 128, 2, 1, 1)
    for provider, p50, ratio in (("nn.LSTM", 90.0, 1.0), ("fastlstm cpu", 30.0, 3.0)):
        rows.append(make_row(step, provider, DECODE, unit="us", p50=p50, ratio=ratio))
        text = {"metric": "speed", "unit": "tokens/s", "p50": 1e5 * ratio, "ratio": ratio}
        rows.append(make_row(step, provider, "training step, 96 tokens", **text))
    return rows


def test_each_figure_stands_in_its_cell(readme):
    rows = made_up_run()
    text = readme.section(rows, "benchmarks/results/a.csv")
    found = {(r.shape, r.directions, r.measure): r.ratio for r in rows if r.auto and r.ratio}
    lines = text.splitlines()

    def pair(shape, directions=1):
        a, b = (found[shape, directions, m] for m in (INFERENCE, "forward+backward"))
        return f"{a:.2f}x / {b:.2f}x"

    assert "| H | B = 1 | B = 32 |" in lines
    for H in (64, 128):
        cells = [pair((H, H, 1, B, 64)) for B in (1, 32)]
        assert f"| {H} | {' | '.join(cells)} |" in lines
    assert any(
        line.startswith(f"| 40, 128, 3, 1, 100 | {pair((40, 128, 3, 1, 100))}") for line in lines
    )
    assert any(f"bi | {pair((64, 64, 1, 16, 32), 2)}" in line for line in lines)
    assert "| 128 | 2 | 30.0 | 90.0 | 3.00x |" in lines
    assert "| 2 x 128 | 1 x 1 | 96 | 300,000 | 3.00x |" in lines
    assert rows[0].device in " ".join(text.split())
    assert rows[0].commit in text


def test_the_classes_and_the_slower_shapes_stand_first(readme):
    plain, step = Case(128, 128, 1, 32, 64), Case(64, 64, 1, 1, 1)
    rows = [
        make_row(case, "fastlstm cpu", measure, ratio=ratio, gemm_share=share)
        for case, measure, ratio, share in (
            (plain, INFERENCE, 0.5, 0.25),
            (plain, TRAINING, 2.0, 0.75),
            (replace(plain, dtype="bfloat16"), INFERENCE, 3.0, 0.5),
            (step, DECODE, 4.0, None),
        )
    ]
    rows.append(make_row(step, "nn.LSTM", DECODE, ratio=1.0))
    classes, counts, below, *_ = readme.section(rows, "a.csv").split("\n\n")[1:]
    assert classes.splitlines() == [
        "| class | shapes | inference | forward and backward | of the GEMM's FLOP/s |",
        "| --- | --- | --- | --- | --- |",
        "| H 128 to 1024, B >= 16 | 1 | 0.50x | 2.00x | 25% / 75% |",
        "| H 128 to 1024, B >= 16, bfloat16 | 1 | 3.00x | - | 50% |",
        "| one step, B = 1 | 1 | 4.00x | - | - |",
        "| whole grid, padded, one direction | 1 | 0.50x | 2.00x | - |",
    ]
    assert counts.startswith("Inference: faster in 1 shapes, slower in 1, no difference")
    assert below == "Below 1 in 1: I128 H128 L1 B32 T64 inference 0.50x."


def test_what_stands_beside_has_a_column(readme):
    case = Case(512, 512, 1, 1, 64)
    rows = [make_row(case, "fastlstm cpu", m, ratio=2.0) for m in (INFERENCE, TRAINING)]
    rows.append(make_row(case, "fastlstm bf16 weights", INFERENCE, ratio=3.0))
    lines = readme.section(rows, "a.csv").splitlines()
    assert "| B = 1, H >= 512 | 1 | 2.00x | 2.00x | - | bf16 weights 3.00x |" in lines
    assert "Below 1 in none." in lines


def test_each_dtype_has_its_tables(readme):
    cases = [Case(H, H, 1, 16, 32) for H in (128, 256)] + [Case(650, 650, 2, 20, 35)]
    half = [replace(case, dtype="bfloat16") for case in cases]
    text = readme.section(make_rows([*cases, *half]), "a.csv")
    titles = [line for line in text.splitlines() if line.startswith(("One layer", "Other"))]
    assert titles == [
        "One layer, I = H, T = 32: inference / forward and backward",
        "Other shapes",
        "One layer, I = H, T = 32, bfloat16: inference / forward and backward",
        "Other shapes, bfloat16",
    ]


def test_it_is_written_between_the_comments_and_checked(readme, monkeypatch, tmp_path, capsys):
    page, source = tmp_path / "README.md", tmp_path / "rows.csv"
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    monkeypatch.setattr(readme, "README", page)
    write_rows(source, made_up_run())
    page.write_text(
        "before\n<!-- benchmark: none none -->\nout of date\n<!-- benchmark: end -->\nafter\n"
    )
    monkeypatch.setattr(sys, "argv", ["readme.py", str(source)])
    assert readme.main() == 0
    text = page.read_text()
    assert text.startswith("before\n<!-- benchmark: rows.csv 2026-07-31T12:00:00+00:00 -->\n")
    assert text.endswith("<!-- benchmark: end -->\nafter\n")
    assert "out of date" not in text
    monkeypatch.setattr(sys, "argv", ["readme.py", "--check"])
    assert readme.main() == 0
    page.write_text(text.replace("3.00x", "4.00x"))
    assert readme.main() == 1
    assert "stale" in capsys.readouterr().out


def test_no_committed_time_lies_below_its_floor():
    rows = [row for path in (ROOT / "benchmarks/results").glob("*.csv") for row in rows_of(path)]
    assert rows
    below = [row for row in rows if row.floor and row.p50 < row.floor]
    assert below == []


def rows_of(path):
    try:
        return read_rows(path)
    except ValueError:  # another kind of table
        return []
