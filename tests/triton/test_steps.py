"""The fused cell after a GEMM a step, here in Triton's interpreter."""

from dataclasses import replace

import pytest
import torch
from accuracy import assert_case

import fastlstm
from fastlstm import backends
from fastlstm.backends import triton
from fastlstm.verify import Case, make_inputs, make_ours, make_peer

CASES = [
    Case(5, 3, 4, 7),
    Case(1, 1, 1, 1, bidirectional=True),
    Case(4, 20, 5, 130),
    Case(3, 2, 5, 64, bias=False, hx=False),
    Case(7, 5, 4, 19, bidirectional=True, ragged=True),
    Case(6, 9, 4, 33, layers=2, bidirectional=True, ragged=True),
]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_accurate_as_torch(case, dtype):
    """In float32 three times nn.LSTM's error: the GEMMs are torch.mm's, here those of a CPU."""
    assert_case(replace(case, dtype=dtype), "triton", 3.0 if dtype == "float32" else 2.0)


@pytest.mark.parametrize("T", [1, 3])
def test_no_sequences(T):
    case = Case(T, 3, 4, 7)
    ours = make_ours(make_peer(case), "triton")
    x = torch.empty(T, 0, 4, requires_grad=True)
    y, (h_n, c_n) = ours(x)
    assert (y.shape, h_n.shape, c_n.shape) == ((T, 0, 7), (1, 0, 7), (1, 0, 7))
    y.sum().backward()
    assert x.grad.shape == x.shape
    assert all(p.grad.eq(0).all() for p in ours.parameters())


def test_strided_input_and_gradient():
    case = Case(4, 3, 5, 7)
    inputs, results = make_inputs(case), []
    for module in (make_ours(make_peer(case), "triton"), make_peer(case)):
        x = inputs["input"].permute(1, 0, 2).contiguous().permute(1, 0, 2).requires_grad_()
        y, _ = module(x)
        y.backward(inputs["d_output"].permute(2, 1, 0).contiguous().permute(2, 1, 0))
        results.append([y.detach(), x.grad, *(p.grad for p in module.parameters())])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "reduce", [lambda y: y.sum(), lambda y: y.mean(0).sum(), lambda y: y[-1].sum()]
)
def test_gradients_that_are_expanded(reduce):
    """The gradient of a sum has one element of memory, seen many times."""
    case, found = Case(4, 3, 5, 7), []
    for module in (make_ours(make_peer(case), "triton"), make_peer(case)):
        x = make_inputs(case)["input"].requires_grad_()
        reduce(module(x)[0]).backward()
        found.append([x.grad, *(p.grad for p in module.parameters())])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("frozen", ["weight_hh_l0", "bias_ih_l0 bias_hh_l0", "all"])
def test_what_needs_no_gradient_gets_none(frozen):
    ours = make_ours(make_peer(Case(4, 3, 5, 7)), "triton")
    for name, parameter in ours.named_parameters():
        parameter.requires_grad_(not (frozen == "all" or name in frozen.split()))
    x = torch.randn(4, 3, 5, requires_grad=True)
    ours(x)[0].sum().backward()
    assert x.grad is not None
    for parameter in ours.parameters():
        assert (parameter.grad is not None) == parameter.requires_grad


def test_gradients_of_gradients():
    ours = make_ours(make_peer(Case(3, 2, 4, 5)), "triton")
    x = torch.randn(3, 2, 4, requires_grad=True)
    (dx,) = torch.autograd.grad(ours(x)[0].sum(), x, create_graph=True)
    dx.square().sum().backward()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"proj_size": 3}, "proj_size is 3, it needs 0"),
        ({"dtype": torch.float64}, "dtype is torch.float64, it needs torch.float32"),
    ],
    ids=["projection", "float64"],
)
def test_what_it_does_not_take(kwargs, words):
    ours = fastlstm.LSTM(5, 7, backend="triton", **kwargs)
    with pytest.raises(RuntimeError, match=words):
        ours(torch.zeros(3, 2, 5, dtype=kwargs.get("dtype")))


def test_without_the_interpreter_it_needs_a_gpu(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET")
    words = "tensors are on 'cpu', it needs 'cuda', and there is no CUDA device here"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RuntimeError, match=words):
        fastlstm.LSTM(5, 7, backend="triton")(torch.zeros(3, 2, 5))


def test_without_triton(monkeypatch):
    monkeypatch.setattr(triton, "_INSTALLED", False)
    reason = triton.why_not(backends.Problem("cuda", torch.float32, 0))
    assert reason == "triton is not installed (pip install 'fastlstm[gpu]')"
