"""What one variant of the C++ kernels saves, another one reads: it may change before backward."""

import itertools

import pytest
import torch
from torch import nn

import fastlstm
from fastlstm.backends import cpu

TOLERANCES = {
    torch.float32: {"rtol": 1e-4, "atol": 1e-5},
    torch.bfloat16: {"rtol": 0.05, "atol": 0.02},
}


@pytest.mark.parametrize("hidden", [5, 24, 40])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize(("writer", "reader"), itertools.permutations(cpu.isas(), 2))
def test_backward_by_another_variant(writer, reader, dtype, hidden):
    ours = fastlstm.LSTM(3, hidden, 2, backend="cpu").to(dtype)
    peer = nn.LSTM(3, hidden, 2).double()
    peer.load_state_dict(ours.state_dict())
    x = torch.linspace(-1, 1, 24).view(4, 2, 3).to(dtype)
    with cpu.use_isa(writer):
        loss = ours(x)[0].square().sum()
    with cpu.use_isa(reader):
        got = torch.autograd.grad(loss, list(ours.parameters()))
    expected = torch.autograd.grad(peer(x.double())[0].square().sum(), list(peer.parameters()))
    for gradient, exact in zip(got, expected, strict=True):
        torch.testing.assert_close(gradient.double(), exact, **TOLERANCES[dtype])
