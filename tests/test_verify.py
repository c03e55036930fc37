"""`fastlstm verify` passes what is right and misses what is not."""

import argparse
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from fastlstm import backends, verify
from fastlstm.backends import cpu
from fastlstm.lstm import LSTM
from fastlstm.verify import DTYPES, GRID, QUICK, Case, Result

CASE = Case(4, 3, 5, 7)
QUANTITIES = ["output", "h_n", "c_n", "grad input", "grad h_0", "grad c_0", "grad weight_hh_l0"]


def run(*options):
    parser = argparse.ArgumentParser()
    verify.add_arguments(parser)
    return verify.run(parser.parse_args(options))


def test_quick_grid_is_green(capsys):
    assert run("--quick") == 0
    *rows, summary = capsys.readouterr().out.splitlines()[1:]
    names = {f"cpu/{isa}" for isa in cpu.isas()} | set(backends.names()) - {"cpu"}
    assert {row.split()[0] for row in rows} == names
    projected = sum(case.proj > 0 for case in QUICK)  # which triton does not take
    assert len(rows) == len(names) * len(QUICK) - projected
    assert all(row.endswith("ok") for row in rows)
    assert f"{len(rows)} checked, 0 missed" in summary


def test_quick_grid_is_green_in_other_dtypes(capsys):
    dtypes = ["bfloat16", "float16", "float64"]
    assert run("--quick", *(word for dtype in dtypes for word in ("--dtype", dtype))) == 0
    *rows, summary = capsys.readouterr().out.splitlines()[1:]
    kernels = {f"cpu/{isa}" for isa in cpu.isas()}
    assert {row.split()[0] for row in rows} == {"aten", "reference", "triton"} | kernels
    for dtype in dtypes:
        runs = (2 + len(kernels) * (dtype == "bfloat16")) * len(QUICK)
        runs += (dtype != "float64") * sum(not case.proj for case in QUICK)
        assert sum(f" {dtype} " in row and row.endswith("ok") for row in rows) == runs
    assert f"{len(rows)} checked, 0 missed" in summary


def test_a_backend_that_cannot_run_a_dtype_is_an_error_before_any_row(capsys):
    with pytest.raises(RuntimeError, match=r"'cpu' cannot run .* it needs torch\.float32"):
        run("--quick", "--backend", "cpu", "--dtype", "float32", "--dtype", "float16")
    assert capsys.readouterr().out == ""


def test_a_device_that_is_not_here_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RuntimeError, match=r"^--device cuda: no CUDA device here$"):
        run("--quick", "--device", "cuda")


def test_backend_option_is_repeatable(capsys):
    assert run("--quick", "--backend", "aten", "--backend", "reference") == 0
    rows = capsys.readouterr().out.splitlines()[1:-1]
    assert {row.split()[0] for row in rows} == {"aten", "reference"}


def test_unknown_backend_is_an_error():
    with pytest.raises(ValueError, match="onednn"):
        run("--quick", "--backend", "onednn")


def test_grid_covers_what_bites():
    assert {case.T for case in GRID} >= {1, 2}
    assert {case.B for case in GRID} >= {1, 20}
    assert {case.H for case in GRID} >= {1, 256, 512}
    for flag in ("bidirectional", "bias", "hx", "ragged"):
        assert {getattr(case, flag) for case in GRID} == {True, False}
    assert len({str(case) for case in GRID}) == len(GRID)


def perturb(monkeypatch, quantity, change):
    """Let the results of fastlstm.LSTM, and only those, be wrong in one quantity."""
    honest = verify.quantities

    def quantities(module, case, inputs):
        results = honest(module, case, inputs)
        if isinstance(module, LSTM):
            results[quantity] = change(results[quantity].clone())
        return results

    monkeypatch.setattr(verify, "quantities", quantities)


def nan_in_one_element(tensor):
    tensor.view(-1)[-1] = float("nan")
    return tensor


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda t: t * (1 + 1e-5), id="scaled"),
        pytest.param(lambda t: t + 1e-5 * t.abs().max(), id="shifted"),
        pytest.param(lambda t: t.flip(-1), id="flipped"),
        pytest.param(lambda t: t[..., :-1], id="cut"),
        pytest.param(nan_in_one_element, id="nan"),
        pytest.param(lambda t: t / 0, id="inf"),
        pytest.param(lambda t: t.double(), id="of another dtype"),
    ],
)
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_a_wrong_quantity_is_a_miss(monkeypatch, quantity, change):
    perturb(monkeypatch, quantity, change)
    (result,) = verify.verify(["aten"], [CASE])
    assert not result.ok
    assert result.quantity == quantity


@pytest.mark.parametrize(
    ("dtype", "by"), [("bfloat16", 0.1), ("float16", 0.02), ("float64", 1e-14)]
)
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_a_wrong_quantity_is_a_miss_in_other_dtypes(monkeypatch, quantity, dtype, by):
    perturb(monkeypatch, quantity, lambda t: t + by * t.abs().max())
    (result,) = verify.verify(["aten"], [replace(CASE, dtype=dtype)])
    assert not result.ok
    assert result.quantity == quantity


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_oracle_takes_the_rounded_numbers(monkeypatch, dtype):
    """Then float64's own results, rounded, are off by half a unit at most."""
    honest, oracle = verify.quantities, {}

    def quantities(module, case, inputs):
        results = honest(module, case, inputs)
        if isinstance(module, LSTM):
            return {name: oracle[name].to(tensor.dtype) for name, tensor in results.items()}
        if next(module.parameters()).dtype is torch.float64:
            assert all(tensor.dtype is DTYPES[dtype] for tensor in inputs.values())
            narrow = [p.to(DTYPES[dtype]).double() for p in module.parameters()]
            assert all(map(torch.equal, narrow, module.parameters()))
            oracle.update(results)
        return results

    monkeypatch.setattr(verify, "quantities", quantities)
    (result,) = verify.verify(["aten"], [replace(CASE, dtype=dtype)])
    assert result.error <= torch.finfo(DTYPES[dtype]).eps / 2
    assert result.error <= result.peer_error


def test_in_float64_nn_lstm_errs_as_in_float32():
    case = replace(CASE, dtype="float64")
    (single,) = verify.verify(["aten"], [replace(CASE, dtype="float32")])
    inputs, peer = verify.make_inputs(case), verify.make_peer(case)
    oracle = verify.quantities(peer, case, inputs)
    errors = verify.peer_errors(peer, case, inputs, oracle)
    unit = torch.finfo(torch.float64).eps / torch.finfo(torch.float32).eps
    assert errors[single.quantity] / unit == pytest.approx(single.peer_error, rel=0.01)


@pytest.mark.parametrize(
    ("device", "dtype", "tf32", "eps"),
    [
        ("cuda", torch.float32, True, 2.0**-10),
        ("cuda", torch.float32, False, 2.0**-23),
        ("cpu", torch.float32, True, 2.0**-23),
        ("cuda", torch.float64, True, 2.0**-52),
        ("cuda", torch.float16, True, 2.0**-10),
        ("cuda", torch.bfloat16, True, 2.0**-7),
    ],
)
def test_the_floor_is_tf32_only_where_torch_uses_it(device, dtype, tf32, eps):
    like = SimpleNamespace(device=torch.device(device), dtype=dtype)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=tf32):
        assert verify.allowed(0.0, like) == verify.FLOOR_ULPS * eps


def test_a_miss_is_printed_and_the_exit_code_is_1(monkeypatch, capsys):
    perturb(monkeypatch, "grad weight_hh_l0", lambda t: t * 1.001)
    assert run("--quick", "--backend", "reference") == 1
    *rows, summary = capsys.readouterr().out.splitlines()[1:]
    assert all(row.endswith("MISS") and "grad weight_hh_l0" in row for row in rows)
    assert f"{len(rows)} missed" in summary


def test_a_wrong_kernel_is_a_miss(monkeypatch):
    """One gradient of the C++ backend is off by a part in ten thousand."""
    honest = cpu.backward

    def backward(*args):
        dx, dh_0, dc_0, dweights = honest(*args)
        return dx, dh_0 * 1.0001, dc_0, dweights

    monkeypatch.setattr(cpu, "backward", backward)
    results = verify.verify(["cpu"], [CASE])
    assert [(r.ok, r.quantity) for r in results] == [(False, "grad h_0")] * len(cpu.isas())


def test_a_peer_that_is_not_finite_excuses_nothing():
    nan = float("nan")
    assert not Result("cpu", CASE, "output", float("inf"), float("inf"), float("inf")).ok
    assert not Result("cpu", CASE, "output", nan, 1e-7, 1e-6).ok
    assert verify.relative_error(torch.tensor([nan]), torch.zeros(1)) == float("inf")


def test_inputs_are_the_same_on_every_call():
    first, second = verify.make_inputs(CASE), verify.make_inputs(CASE)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_verify_leaves_the_random_state_alone():
    torch.manual_seed(9)
    expected = torch.rand(3)
    torch.manual_seed(9)
    verify.verify(["aten"], [CASE])
    assert torch.equal(torch.rand(3), expected)
