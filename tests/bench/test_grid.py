"""Which shapes and dtypes are measured."""

from dataclasses import replace

import pytest
from made_up_rows import make_row

from fastlstm.bench import command, grid, limits, training
from fastlstm.bench.case import DECODE, INFERENCE, Case
from fastlstm.bench.classes import CLASSES
from fastlstm.bench.grid import BFLOAT16, FULL, QUICK, choose_cases, parse_shape
from fastlstm.bench.row import read_rows
from fastlstm.bench.timing import Effort
from fastlstm.cli import main
from fastlstm.verify_cases import DTYPES


@pytest.mark.parametrize(
    "text", ["1,2,3,4", "1,2,3,4,5,6", "1,2,3,4,0", "1,2,3,4,x", "-1,2,3,4,5", ""]
)
def test_a_malformed_shape_is_an_error(text):
    with pytest.raises(ValueError, match="--shapes takes I,H,L,B,T"):
        parse_shape(text)


def test_grids():
    assert parse_shape("1,2,3,4,5") == Case(1, 2, 3, 4, 5)
    assert list(choose_cases(True, ["1,2,3,4,5"], ["float64"])) == [
        Case(1, 2, 3, 4, 5, dtype="float64")
    ]
    for cases in (QUICK, FULL):
        assert len(set(cases)) == len(cases)
        assert {case.directions for case in cases} == {1, 2}
        assert {case.ragged for case in cases} == {False, True}
        assert any(case.decodes for case in cases)
        assert len(list(choose_cases(cases is QUICK, [], list(DTYPES)))) == 4 * len(cases)


def test_without_a_dtype_the_full_grid_has_a_part_in_bfloat16():
    assert list(choose_cases(False, [])) == [*FULL, *BFLOAT16]
    assert list(choose_cases(False, [], ["float32"])) == list(FULL)
    assert list(choose_cases(True, [])) == list(QUICK)
    assert list(choose_cases(False, ["1,2,3,4,5"])) == [Case(1, 2, 3, 4, 5)]


def test_each_case_in_bfloat16_can_be_compared_with_float32():
    assert {case.dtype for case in BFLOAT16} == {"bfloat16"}
    assert {replace(case, dtype="float32") for case in BFLOAT16} <= set(FULL)


@pytest.mark.parametrize("shapes", CLASSES, ids=lambda shapes: shapes.name)
def test_the_full_grid_has_four_cases_of_each_class(shapes):
    rows = [
        make_row(case, "fastlstm cpu", DECODE if case.decodes else INFERENCE)
        for case in (*FULL, *BFLOAT16)
        if case.dtype == shapes.dtype
    ]
    assert len([row for row in rows if row.measure in shapes.measures and shapes.holds(row)]) >= 4


@pytest.fixture
def _small(monkeypatch):
    """A grid of a case in each dtype, measured in no time."""
    case = Case(5, 5, 1, 2, 4)
    monkeypatch.setattr(grid, "FULL", (case,))
    monkeypatch.setattr(grid, "BFLOAT16", (replace(case, dtype="bfloat16"),))
    monkeypatch.setattr(training, "FULL", ())
    monkeypatch.setattr(command, "FULL", Effort(2, 0.0, 0.0, slow_rounds=1))
    monkeypatch.setattr(limits, "GEMM_SIZES", {"cpu": (32,)})
    monkeypatch.setattr(limits, "GEMV_SIZES", {"cpu": ((64, 64),)})


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize(
    ("options", "dtypes"),
    [
        ([], {"float32", "bfloat16"}),
        (["--dtype", "float32"], {"float32"}),
        (["--dtype", "bfloat16", "--dtype", "float64"], {"bfloat16", "float64"}),
    ],
    ids=["none", "one", "two"],
)
def test_a_run_measures_the_dtypes_asked_for(tmp_path, capsys, options, dtypes):
    assert main(["bench", "--output", str(tmp_path), "--against", "nn.LSTM", *options]) == 0
    (path,) = tmp_path.glob("*.csv")
    rows = read_rows(path)
    assert {row.dtype for row in rows if row.metric == "time"} == dtypes
    assert {row.dtype for row in rows if row.measure == "gemm"} == dtypes | {"float32"}
    text = capsys.readouterr().out
    assert all(f"inference, {dtype}: how many times" in text for dtype in dtypes)
