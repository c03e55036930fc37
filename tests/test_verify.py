"""`fastlstm verify` passes what is right and misses what is not."""

import argparse

import pytest
import torch

from fastlstm import backends, verify
from fastlstm.backends import cpu
from fastlstm.lstm import LSTM
from fastlstm.verify import GRID, QUICK, Case, Result

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
    assert len(rows) == len(names) * len(QUICK)
    assert all(row.endswith("ok") for row in rows)
    assert f"{len(rows)} checked, 0 missed" in summary


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
    ],
)
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_a_wrong_quantity_is_a_miss(monkeypatch, quantity, change):
    perturb(monkeypatch, quantity, change)
    (result,) = verify.verify(["aten"], [CASE])
    assert not result.ok
    assert result.quantity == quantity


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
