"""Autocast to bfloat16 on the CPU: the C++ kernels, by name, in the dtypes of nn.LSTM."""

import copy

import pytest
import torch
from accuracy import assert_as_accurate
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from fastlstm.backends import cpu
from fastlstm.verify import make_ours

T, B, I, H = 6, 4, 9, 21
CONFIGS = {
    "one layer": {},
    "two layers": {"num_layers": 2, "bidirectional": True},
    "no biases": {"bias": False},
}


@pytest.fixture
def dtypes(monkeypatch):
    """The dtype that the kernel is called with, each time."""
    forward, seen = cpu.forward, []

    def record(x, *args):
        seen.append(x.dtype)
        return forward(x, *args)

    monkeypatch.setattr(cpu, "forward", record)
    return seen


def run(module, x, enabled=True):
    """Results and every parameter's gradient by name."""
    with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
        output, (h_n, c_n) = module(x)
    output = output.data if isinstance(output, PackedSequence) else output
    loss = output.double().square().sum() + h_n.double().sum() + c_n.double().sum()
    grads = torch.autograd.grad(loss, list(module.parameters()))
    names = [f"grad {name}" for name, _ in module.named_parameters()]
    return {"output": output, "h_n": h_n, "c_n": c_n} | dict(zip(names, grads, strict=True))


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("config", CONFIGS)
def test_dtypes_and_accuracy_of_nn_lstm(config, packed, dtypes):
    """Of a PackedSequence of different lengths it takes no notice, as in nn.LSTM."""
    peer, padded = nn.LSTM(I, H, **CONFIGS[config]), torch.randn(T, B, I)
    x = pack_padded_sequence(padded, [6, 4, 4, 1]) if packed else padded
    got = run(make_ours(peer, "cpu"), x)
    assert dtypes == [torch.float32 if packed else torch.bfloat16]
    oracle = run(copy.deepcopy(peer).double(), x.double(), enabled=False)
    for name, tensor in run(peer, x).items():
        assert got[name].dtype == tensor.dtype, name
        if packed:
            assert_as_accurate(name, got[name], oracle[name], tensor)
        else:  # gradients arrive in float32, but are good for bfloat16
            assert_as_accurate(name, got[name].bfloat16(), oracle[name], tensor.bfloat16())


@pytest.mark.parametrize("lengths", [[6, 6, 6], [6], [1, 1]], ids=str)
@pytest.mark.parametrize("backend", ["auto", "cpu"])
def test_a_packed_batch_of_equal_lengths_is_as_a_padded_one(lengths, backend, dtypes):
    peer, padded = nn.LSTM(I, H, 2, bidirectional=True), torch.randn(T, len(lengths), I)
    got = run(make_ours(peer, backend), x := pack_padded_sequence(padded, lengths))
    assert dtypes == [torch.bfloat16]
    for name, tensor in run(peer, x).items():
        assert got[name].dtype == tensor.dtype, name
        torch.testing.assert_close(got[name], tensor, rtol=0.05, atol=0.1)


def test_without_autograd(dtypes):
    peer, x = nn.LSTM(I, H, 2), torch.randn(1, B, I)
    ours = make_ours(peer, "cpu")
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        (output, states), (expected, expected_states) = ours(x), peer(x)
    assert dtypes == [torch.bfloat16]
    for got, theirs in zip((output, *states), (expected, *expected_states), strict=True):
        assert got.dtype == theirs.dtype
        torch.testing.assert_close(got, theirs, rtol=0.03, atol=0.03)
