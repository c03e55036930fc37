"""benchmarks/gpu/choose_sizes.py: from benchmark rows to the table by which "auto" chooses."""

import importlib.util
import sys
from pathlib import Path

import pytest
from made_up_rows import make_row

from fastlstm.bench.case import FORWARD, INFERENCE, TRAINING, Case
from fastlstm.bench.row import write_rows

OURS = "fastlstm triton"
ROWS = [
    make_row(Case(64, 64, 1, 1, 32), OURS, INFERENCE, ratio=2.004),
    make_row(Case(64, 64, 1, 1, 64), OURS, INFERENCE, ratio=1.9),
    make_row(Case(64, 64, 2, 16, 32), OURS, TRAINING, ratio=1.2),
    make_row(Case(64, 64, 1, 32, 32), OURS, FORWARD, ratio=8.0),
    make_row(Case(96, 96, 1, 16, 32), "fastlstm aten", INFERENCE, ratio=1.0),
    make_row(Case(32, 32, 1, 16, 32, ragged=True), OURS, INFERENCE, ratio=9.0),
]


@pytest.fixture
def choose_sizes():
    path = Path(__file__).parents[2] / "benchmarks/gpu/choose_sizes.py"
    spec = importlib.util.spec_from_file_location("choose_sizes", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(choose_sizes, tmp_path, monkeypatch):
    """Writes a table from rows, and gives the module's names."""
    table, path = tmp_path / "measured.py", tmp_path / "rows.csv"
    table.write_text(choose_sizes.TABLE.read_text())

    def run(architecture, rows):
        path.unlink(missing_ok=True)
        write_rows(path, rows)
        words = ["choose_sizes", str(architecture), str(path), "--table", str(table)]
        monkeypatch.setattr(sys, "argv", words)
        code = choose_sizes.main()
        scope = {"__name__": "measured"}
        exec(table.read_text(), scope)
        return code, scope

    return run


def test_the_least_ratio_of_each_kind_and_size(run, capsys):
    code, module = run(70, ROWS)
    assert code == 0
    assert "sm_70: 2 sizes in 2 kinds" in capsys.readouterr().out
    Kind = module["Kind"]
    inference = Kind("float32", False, False, False)
    training = Kind("float32", True, True, False)
    assert module["MEASURED"][70] == {inference: {(64, 1): 1.9}, training: {(64, 16): 1.2}}


def test_other_architectures_stay_and_the_same_is_replaced(run):
    run(70, ROWS)
    run(75, ROWS[:1])
    _, module = run(70, ROWS[2:3])
    found = module["MEASURED"]
    assert [list(kind.values()) for kind in (found[70], found[75])] == [
        [{(64, 16): 1.2}],
        [{(64, 1): 2.0}],
    ]


def test_without_rows_of_the_kernels_nothing_is_written(run, capsys):
    code, module = run(70, ROWS[4:5])
    assert code == 1
    assert "no rows of 'fastlstm triton'" in capsys.readouterr().out
    assert 70 not in module["MEASURED"]
