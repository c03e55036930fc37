"""The arguments of benchmarks/regression, its verdict and its exit code."""

import importlib
import random
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks" / "regression"))
regression = importlib.import_module("compare")
verdicts = importlib.import_module("verdict")
SHAPE = "3,5,2,4,6"


def rounds(change, noise, count=24, seed=0):
    """Ratios base to new of a tree that takes 1 / change of the time, with a few outliers."""
    random.seed(seed)
    return [change * (1 + random.gauss(0, noise)) for _ in range(count - 2)] + [0.3, 3.0]


def judge(change, noise, control_noise=None, seed=0):
    ratio = verdicts.spread(rounds(change, noise, seed=seed))
    control = verdicts.spread(rounds(1, control_noise or noise, seed=seed + 1000))
    return verdicts.verdict(ratio, control)


@pytest.mark.parametrize(
    ("text", "expected"), [("3,5,2,4,6", "3,5,2,4,6"), (" 64, 064,1,1,100", "64,64,1,1,100")]
)
def test_shape(text, expected):
    assert regression.parse(["--shapes", text]).shapes == [expected]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--shapes", "1,2,3,4"],
        ["--shapes", "1,2,3,4,5,6"],
        ["--shapes", "1,2,3,4,0"],
        ["--shapes", "1,2,3,4,-5"],
        ["--shapes", "1,2,3,4,x"],
        ["--rounds", "4"],
        ["--rounds", "many"],
        ["--threads", "0"],
        ["--measure", "speed"],
        ["--dtype", "int8"],
    ],
    ids=" ".join,
)
def test_wrong_argument_is_one_line(arguments, capsys):
    assert regression.main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert arguments[-1] in shown.err
    assert arguments[0] in shown.err


def test_interval_of_the_median():
    """Of 24 values the sixth from each end: the median is missed 0.7 times in 100 (binomial)."""
    assert verdicts.spread(range(1, 25)) == (6, 12.5, 19)
    assert verdicts.spread([3, 1, 2, 5, 4]) == (1, 3, 5)


@pytest.mark.parametrize("seed", range(5))
def test_clear_change_is_seen(seed):
    assert judge(1.10, 0.03, seed=seed) == "faster"
    assert judge(1 / 1.10, 0.03, seed=seed) == "slower"


def test_noise_is_no_change():
    """Of the same tree against itself, 300 times, on a quiet and on a busy machine."""
    found = [judge(1, noise, seed=seed) for noise in (0.005, 0.03, 0.2) for seed in range(100)]
    assert found.count("same") >= 297


def test_change_below_the_noise_is_not_claimed():
    assert judge(1.03, 0.2) == "same"


def test_interval_that_holds_1_is_no_change():
    control = verdicts.Spread(0.99, 1, 1.01)
    assert verdicts.verdict(verdicts.Spread(0.99, 1.1, 1.2), control) == "same"
    assert verdicts.verdict(verdicts.Spread(0.8, 0.9, 1.01), control) == "same"


def test_change_that_nn_lstm_shows_too_is_the_machines():
    ratio, control = verdicts.Spread(1.08, 1.10, 1.12), verdicts.Spread(1.07, 1.09, 1.13)
    assert verdicts.verdict(ratio, control) == "same"
    assert verdicts.verdict(ratio, verdicts.Spread(0.98, 1, 1.02)) == "faster"
    ratio, control = verdicts.Spread(0.88, 0.90, 0.92), verdicts.Spread(0.87, 0.91, 0.93)
    assert verdicts.verdict(ratio, control) == "same"
    assert verdicts.verdict(ratio, verdicts.Spread(0.98, 1, 1.02)) == "slower"


def test_small_change_is_same_however_sure():
    assert judge(1.01, 0.0001) == judge(1 / 1.01, 0.0001) == "same"


def test_row_and_table():
    times = {
        ("fastlstm", "base"): [0.002] * 8,
        ("fastlstm", "new"): [0.001] * 8,
        ("nn.LSTM", "base"): [0.004] * 8,
        ("nn.LSTM", "new"): [0.004] * 8,
    }
    row = verdicts.make_row(SHAPE, "inference", times)
    assert (row.base_ms, row.new_ms, row.ratio.median, row.control.median) == (2, 1, 2, 1)
    assert (row.base_to_peer, row.new_to_peer, row.verdict) == (2, 4, "faster")
    assert "faster" in verdicts.table([row]).splitlines()[1]


@pytest.mark.parametrize(("ratio", "code"), [(0.5, 1), (1.0, 0), (2.0, 0)])
def test_exit_code(ratio, code, monkeypatch):
    one, found = verdicts.Spread(1, 1, 1), verdicts.Spread(ratio, ratio, ratio)
    row = verdicts.Row(SHAPE, "inference", 1, 1, found, one, 1, 1)
    monkeypatch.setattr(regression, "compare", lambda args: [row])
    assert regression.main([]) == 0
    assert regression.main(["--fail-on-regression"]) == code
