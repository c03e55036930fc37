"""Which sizes "auto" gives to the Triton kernels: those around which all was measured faster."""

import pytest
import torch

from fastlstm import backends
from fastlstm.backends import triton
from fastlstm.backends.triton import measured, selection
from fastlstm.backends.triton.measured import Kind

KIND = Kind("bfloat16", True, False, False)
SHAPE = backends.Shape(200, 20, 1, 1, True)
GRID = {(128, 16): 3.0, (128, 32): 2.0, (256, 16): 4.0, (256, 32): 1.5}


def problem(shape=SHAPE, dtype=torch.bfloat16, device="cuda"):
    return backends.Problem(device, dtype, 0, shape)


@pytest.fixture
def sm90(monkeypatch):
    """A GPU of sm_90 for which GRID was measured."""
    monkeypatch.setattr(selection, "_architecture", lambda: 90)
    monkeypatch.setitem(measured.MEASURED, 90, {KIND: dict(GRID)})
    return measured.MEASURED[90][KIND]


def test_all_faster_around(sm90):
    assert selection.slower(problem()) is None
    assert backends.select(problem()).name == "triton"


@pytest.mark.parametrize("size", [(128, 16), (256, 32), (128, 20), (200, 32)], ids=str)
def test_a_size_on_the_grid_or_between_two_of_it(sm90, size):
    assert selection.slower(problem(SHAPE._replace(hidden_size=size[0], batch=size[1]))) is None


@pytest.mark.parametrize("corner", GRID, ids=str)
def test_one_slower_neighbour_is_enough(sm90, corner):
    sm90[corner] = 1.04
    assert "1.04x of cuDNN" in selection.slower(problem())
    assert backends.select(problem()).name == "aten"


@pytest.mark.parametrize("size", [(127, 16), (257, 16), (128, 15), (128, 33), (1, 1)], ids=str)
def test_outside_of_what_was_measured(sm90, size):
    shape = SHAPE._replace(hidden_size=size[0], batch=size[1])
    assert "outside of what was measured" in selection.slower(problem(shape))


def test_a_hole_in_what_was_measured(sm90):
    del sm90[256, 16], sm90[256, 32]
    sm90[256, 1] = 9.0
    assert "outside" in selection.slower(problem())


@pytest.mark.parametrize(
    "other",
    [
        problem(dtype=torch.float16),
        problem(SHAPE._replace(training=False)),
        problem(SHAPE._replace(num_layers=2)),
        problem(SHAPE._replace(directions=2)),
        problem(SHAPE._replace(packed=True)),
        problem(shape=None),
        problem(device="cpu"),
    ],
    ids=["dtype", "inference", "layers", "directions", "packed", "no shape", "cpu"],
)
def test_what_was_not_measured_is_left_to_torch(sm90, other):
    assert selection.slower(other)


def test_another_architecture(sm90, monkeypatch):
    monkeypatch.setattr(selection, "_architecture", lambda: 80)
    assert "sm_80" in selection.slower(problem())


def test_float32_is_for_tf32_only(sm90, monkeypatch):
    measured.MEASURED[90][KIND._replace(dtype="float32")] = dict(GRID)
    assert selection.slower(problem(dtype=torch.float32)) is None
    monkeypatch.setattr(torch.backends.cudnn.rnn, "fp32_precision", "ieee")
    assert "IEEE" in selection.slower(problem(dtype=torch.float32))


def test_by_name_it_runs_whatever_was_measured(sm90):
    sm90.clear()
    assert backends.select(problem(), "triton").name == "triton"


def test_the_interpreter_is_never_auto():
    assert triton.interpreted()
    assert backends.select(backends.Problem("cpu", torch.float16, 0)).name == "aten"
