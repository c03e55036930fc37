"""What the machine can do at best, and the bounds from it."""

import time

import pytest
import torch

from fastlstm.bench import limits
from fastlstm.bench.case import INFERENCE, TRAINING, Case
from fastlstm.bench.limits import Limits, bandwidth, gemm_rate, measure_limits, onednn_linear


def make_limits(kept):
    gemv = {(512, 512): 1e9, (8192, 8192): 1e6}
    return Limits({"float32": 1e10}, gemv, call=0.5, gemm_size={}, kept=kept)


def test_the_floor_is_the_longest_of_what_cannot_be_avoided():
    some = make_limits(kept=1 << 20)
    small, large = Case(8, 8, 1, 1, 10), Case(512, 512, 1, 1, 10)
    assert some.floor(small, INFERENCE) == pytest.approx(0.5 + small.flops(INFERENCE) / 1e10)
    # 4 MiB of recurrent weights, of which 1 stays; the others from where 1 MiB lies: slower memory
    # does not count
    assert large.recurrent_bytes() == 4 << 20
    reading = 10 * (3 << 20) / 1e9
    assert some.floor(large, INFERENCE) == pytest.approx(0.5 + reading)
    assert some.floor(large, TRAINING) == pytest.approx(0.5 + 2 * reading)
    products = large.flops(INFERENCE) / 1e10
    assert make_limits(kept=64 << 20).floor(large, INFERENCE) == pytest.approx(0.5 + products)
    assert some.share(small, INFERENCE, 1.0) == small.flops(INFERENCE) / 1e10


def test_the_floor_of_a_dtype_whose_gemm_was_not_measured():
    case = Case(8, 8, 1, 1, 10, dtype="bfloat16")
    floor = make_limits(kept=0).floor(case, INFERENCE)
    assert floor == pytest.approx(0.5 + case.flops(INFERENCE) / 1e10)


@pytest.fixture
def _small(monkeypatch):
    monkeypatch.setattr(limits, "GEMM_SIZES", {"cpu": (32, 64)})
    monkeypatch.setattr(limits, "GEMV_SIZES", {"cpu": ((64, 64),)})


@pytest.mark.usefixtures("_small")
def test_measured_limits_are_plausible():
    found = measure_limits("cpu", ["float32", "bfloat16"])
    assert found.gemm.keys() == {"float32", "bfloat16"}
    assert all(1e7 < rate < 1e14 for rate in found.gemm.values())
    assert set(found.gemm_size.values()) <= {32, 64}
    assert all(1e7 < speed < 1e13 for speed in found.gemv.values())
    assert 1e-8 < found.call < 1e-3
    assert found.kept == torch.get_num_threads() << 20


def slowed(multiply, pause):
    def wait(a, b):
        time.sleep(pause)
        return multiply(a, b)

    return wait


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("late", ["torch", "oneDNN"])
def test_the_gemm_rate_is_that_of_the_faster_library(monkeypatch, late):
    pauses = {"torch": (0.02, 0.0), "oneDNN": (0.0, 0.02)}[late]
    monkeypatch.setattr(torch, "mm", slowed(torch.matmul, pauses[0]))
    monkeypatch.setattr(
        limits, "onednn_linear", lambda device, dtype: slowed(torch.matmul, pauses[1])
    )
    rate, size = gemm_rate("cpu", "float32")
    assert rate > 2 * size**3 / 0.02


@pytest.mark.usefixtures("_small")
def test_without_onednn_the_limits_are_those_of_torch(monkeypatch):
    monkeypatch.setattr(limits, "onednn_linear", lambda device, dtype: None)
    assert gemm_rate("cpu", "float32")[0] > 0
    assert bandwidth("cpu", (64, 64)) > 0


@pytest.mark.usefixtures("_small")
def test_a_size_that_would_take_too_long_is_left_out(monkeypatch):
    monkeypatch.setattr(limits, "onednn_linear", lambda device, dtype: None)
    monkeypatch.setattr(torch, "mm", slowed(torch.matmul, 0.005))
    monkeypatch.setattr(limits, "GEMM_SECONDS", 0.02)
    assert gemm_rate("cpu", "float32")[1] == 32


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_onednn_linear_is_a_product_with_the_transposed(dtype):
    multiply = onednn_linear("cpu", dtype)
    if multiply is None:
        pytest.skip("torch has no oneDNN linear of this dtype here")
    a, b = torch.randn(2, 16, 16).to(getattr(torch, dtype))
    torch.testing.assert_close(multiply(a, b), a @ b.t())


def test_onednn_linear_is_none_where_there_is_none(monkeypatch):
    assert onednn_linear("cuda", "float32") is None
    assert onednn_linear("cpu", "float64") is None  # oneDNN has no such dtype
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert onednn_linear("cpu", "float32") is None
