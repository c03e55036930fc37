"""The workers of benchmarks/regression: what they refuse, what they answer, and their rounds."""

import importlib
import sys
from argparse import Namespace
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benchmarks" / "regression"))
regression = importlib.import_module("compare")
worker = importlib.import_module("worker")
SHAPE = "3,5,2,4,6"


@pytest.fixture(scope="module")
def in_place():
    """A worker on this checkout."""
    side = regression.Side("base", ROOT, threads=1)
    yield side
    side.close()


def test_worker_answers(in_place, tmp_path):
    files = [str(tmp_path / name) for name in "ab"]
    for file in files:
        in_place.ask("prepare", shape=SHAPE, dtype="float32", results_to=file)
    assert in_place.ask("compare", got=files[0], expected=files[1]) == []
    names = set(torch.load(files[0]))
    assert {"output", "h_n", "c_n", "d input", "d weight_hh_l1", "d bias_ih_l0"} < names
    for provider in ("fastlstm", "nn.LSTM"):
        for measure in regression.MEASURES:
            seconds = in_place.ask("time", provider=provider, shape=SHAPE, measure=measure)
            assert 1e-6 < seconds < 1
    assert "1 threads" in in_place.ask("conditions")


def test_worker_says_what_went_wrong_and_goes_on(in_place):
    with pytest.raises(RuntimeError, match="base worker, asked to time: KeyError"):
        in_place.ask("time", provider="fastlstm", shape="9,9,9,9,9", measure="inference")
    assert "torch" in in_place.ask("conditions")


def test_worker_refuses_another_fastlstm(tmp_path):
    """The folder has none: the one that is installed must not be measured in its stead."""
    side = regression.Side("new", tmp_path, threads=1)
    try:
        with pytest.raises(RuntimeError, match=r"new worker.*(must come from|No module named)"):
            side.ask("conditions")
    finally:
        side.close()


def test_origin_is_checked_of_every_module(monkeypatch, tmp_path):
    import fastlstm

    worker.check_origin(ROOT)
    with pytest.raises(RuntimeError, match="must come from"):
        worker.check_origin(tmp_path)
    stray = type(sys)("fastlstm.stray")
    stray.__file__ = str(tmp_path / "stray.py")
    monkeypatch.setitem(sys.modules, "fastlstm.stray", stray)
    with pytest.raises(RuntimeError, match=r"fastlstm\.stray must come from"):
        worker.check_origin(Path(fastlstm.__file__).parents[1])


def test_dead_worker_is_an_error(tmp_path):
    (tmp_path / "fastlstm.py").write_text("import os; os._exit(7)")
    side = regression.Side("new", tmp_path, threads=1)
    try:
        with pytest.raises(RuntimeError, match="new worker ended: exit code 7"):
            side.ask("conditions")
    finally:
        side.close()


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t + 1e-3,
        lambda t: t * float("nan"),
        lambda t: t[:-1],
        lambda t: t.double(),
    ],
    ids=["value", "nan", "shape", "dtype"],
)
def test_difference_is_found(change):
    expected = {"output": torch.randn(4, 5), "d input": torch.randn(3, 2)}
    assert worker.disagreements(expected, expected) == []
    rounded = {name: tensor * (1 + 1e-6) for name, tensor in expected.items()}
    assert worker.disagreements(rounded, expected) == []
    (line,) = worker.disagreements(expected | {"d input": change(expected["d input"])}, expected)
    assert line.startswith("d input differs by")


def write_packages(folder, text, base, new):
    """Two packages that stand for fastlstm: `text` with a value each."""
    folders = {"base": folder / "base", "new": folder / "new"}
    for package, value in zip(folders.values(), (base, new), strict=True):
        package.mkdir()
        (package / "fastlstm.py").write_text(text.format(value=value))
    return folders


STUB = """
from torch import nn
class LSTM(nn.LSTM):
    def forward(self, x, hx=None):
        y, state = super().forward(x, hx)
        return y * {value}, state
"""


def test_trees_that_compute_something_else_are_refused(tmp_path):
    """By two workers, on two packages of which one is wrong in the third digit."""
    folders = write_packages(tmp_path, STUB, 1, 1.001)
    args = Namespace(shapes=[SHAPE], measure=["inference"], dtype="float32", threads=1, rounds=5)
    with pytest.raises(RuntimeError, match=r"3,5,2,4,6: the trees' results differ: output differs"):
        regression.measure(folders, args)


SLOW_STUB = """
import time
from torch import nn
class LSTM(nn.LSTM):
    def forward(self, x, hx=None):
        time.sleep({value})
        return super().forward(x, hx)
"""


def test_slower_tree_is_called_slower(tmp_path, monkeypatch):
    """By workers that run it."""
    args = Namespace(shapes=[SHAPE], measure=["inference"], dtype="float32", threads=1, rounds=5)
    folders = write_packages(tmp_path, SLOW_STUB, 0.0, 0.01)
    monkeypatch.setattr(regression, "MIN_PAIRS", 1)
    (row,), conditions = regression.measure(folders, args)
    assert row.verdict == "slower"
    assert row.new_ms > 10 > row.base_ms
    assert conditions.endswith("5 rounds in 1 pairs of processes")


def test_sides_take_turns_in_several_pairs(monkeypatch):
    """12 rounds: in each of 4 pairs of processes 3, each side first in every second of them."""
    asked = []

    class Recorder:
        def __init__(self, name, pair):
            self.name, self.pair = name, pair

        def ask(self, do, provider="", **arguments):
            if do == "time":
                asked.append((self.pair, provider, self.name))
            return 1.0

    @contextmanager
    def start_pair(folders, args):
        start_pair.count += 1
        yield [Recorder(name, start_pair.count) for name in ("base", "new")]

    start_pair.count = 0
    monkeypatch.setattr(regression, "start_pair", start_pair)
    regression.measure({}, Namespace(shapes=[SHAPE], measure=["inference"], rounds=12))
    assert len(asked) == 12 * 4
    assert [pair for pair, *_ in asked] == [pair for pair in (1, 2, 3, 4) for _ in range(3 * 4)]
    for number in range(12):
        turns = asked[4 * number : 4 * number + 4]
        order = ["base", "new"] if number % 2 == 0 else ["new", "base"]
        assert [turn[1:] for turn in turns] == [
            (provider, name) for provider in ("fastlstm", "nn.LSTM") for name in order
        ]
