"""A program that never comes: no hang, no number that looks right, and an error that says it."""

import pytest
import torch

from fastlstm.backends.triton import persistent
from fastlstm.backends.triton.plan import Limit
from fastlstm.backends.triton.waits import Waits
from fastlstm.verify import Case, make_inputs, make_ours, make_peer

GROUP, SPLIT = Limit(8, 1, 256), Limit(8, 1, 128, 4, 32)
CASE = Case(4, 20, 4, 32)  # two groups of four programs


@pytest.fixture
def waits():
    yield Waits.of(torch.device("cpu"))
    for word in (Waits.of(torch.device("cpu")).abort, Waits.of(torch.device("cpu"))._seen):
        word.zero_()


@pytest.fixture
def lstm(launches, monkeypatch, waits):
    launches.kind(GROUP)
    monkeypatch.setattr(persistent, "TRIES", 300)
    return make_ours(make_peer(CASE), "triton")


def test_forward(lstm, launches):
    x = make_inputs(CASE)["input"]
    with torch.no_grad():
        right, _ = make_peer(CASE)(x)
        launches.missing = {1}  # of the first group
        y, (h_n, _) = lstm(x)
        assert y[1:, :16, 8:16].isnan().all()  # of the units that nobody told
        assert y[1:, :16].isnan().all()  # all others stand on them
        assert h_n[0, :16].isnan().any(-1).all()
        # Another group may have given up with this one; what it has told is right.
        assert (
            torch.isclose(y[:, 16:], right[:, 16:], atol=1e-5).logical_or(y[:, 16:].isnan()).all()
        )
        launches.missing = ()
        with pytest.raises(RuntimeError, match=r"backend='triton': .* waited in vain .* are NaN"):
            lstm(x)
        torch.testing.assert_close(lstm(x)[0], right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [GROUP, SPLIT], ids=["group", "split"])
def test_backward(lstm, launches, kind):
    launches.kind(GROUP, kind)
    x = make_inputs(CASE)["input"].requires_grad_()
    y, _ = lstm(x)
    launches.missing = {2}
    (dx,) = torch.autograd.grad(y.sum(), x, retain_graph=True)
    assert dx[:-1, :16].isnan().all()
    launches.missing = ()
    with pytest.raises(RuntimeError, match="waited in vain"):
        torch.autograd.grad(y.sum(), x, retain_graph=True)
    (dx,) = torch.autograd.grad(y.sum(), x)
    assert dx.isfinite().all()
