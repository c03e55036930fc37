"""Large results and what is kept for backward lie in memory that goes back to the kernels."""

import copy
import gc
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from fastlstm import _C
from fastlstm.backends import cpu, cpu_memory
from fastlstm.verify import make_ours


@pytest.fixture(autouse=True)
def no_direct_calls(monkeypatch):
    """Small calls go their way in C++, and are not pooled."""
    monkeypatch.setattr(cpu, "_direct", _C.Direct(float, torch.empty_like, cpu_memory.KEPT))


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def gradients(module, x):
    module.zero_grad()
    module(x)[0].sum().backward()
    return [parameter.grad.clone() for parameter in module.parameters()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_memory_does_not_matter(dtype, monkeypatch):
    ours, x = make_ours(nn.LSTM(9, 21, 2).to(dtype), "cpu"), torch.randn(7, 5, 9).to(dtype)
    monkeypatch.setattr(cpu_memory, "KEPT", 1 << 60)
    expected = gradients(ours, x)
    monkeypatch.setattr(cpu_memory, "KEPT", 0)
    for got, tensor in zip(gradients(ours, x), expected, strict=True):
        assert torch.equal(got, tensor)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_shape_and_dtype(bfloat16):
    tensor = torch.utils.dlpack.from_dlpack(_C.pooled_tensor((3, 2, 5), bfloat16))
    assert tensor.shape == (3, 2, 5)
    assert tensor.is_contiguous()
    assert tensor.dtype == (torch.bfloat16 if bfloat16 else torch.float32)
    assert tensor.data_ptr() % 64 == 0
    tensor.fill_(1)
    assert tensor.sum() == 30


def test_results_are_tensors_like_any(monkeypatch):
    monkeypatch.setattr(cpu_memory, "KEPT", 0)
    ours = make_ours(nn.LSTM(4, 6), "cpu")
    x = torch.randn(5, 3, 4, requires_grad=True)
    ours(x)[0].sum().backward()
    for tensor in (ours(x)[0].detach(), x.grad, ours.weight_hh_l0.grad):
        expected = tensor.clone()
        for copied in (copy.deepcopy(tensor), pickle.loads(pickle.dumps(tensor))):
            assert torch.equal(copied, expected)
        assert torch.equal(tensor.share_memory_(), expected)
        tensor.add_(1).zero_()
        assert not tensor.any()


def test_memory_comes_back():
    """Taken or not by a tensor: far more bytes in all than the process may grow by."""

    def take_and_drop(taken):
        capsule = _C.pooled_tensor((1024, 1024), False)
        if taken:
            torch.utils.dlpack.from_dlpack(capsule).fill_(1)

    take_and_drop(True)
    before = resident_bytes()
    for _ in range(200):
        take_and_drop(True)
        take_and_drop(False)
    gc.collect()
    assert resident_bytes() - before < 64 << 20


def test_a_graph_keeps_its_memory():
    """Two graphs alive at once do not share it, whichever is used first."""
    ours = make_ours(nn.LSTM(64, 128), "cpu")
    inputs = [torch.randn(20, 40, 64) for _ in range(2)]
    expected = [gradients(ours, x) for x in inputs]
    outputs = [ours(x)[0].sum() for x in inputs]
    for output, wanted in zip(outputs, expected, strict=True):
        grads = torch.autograd.grad(output, list(ours.parameters()))
        for got, tensor in zip(grads, wanted, strict=True):
            assert torch.equal(got, tensor)
