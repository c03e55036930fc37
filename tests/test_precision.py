"""`precision="bf16"` and `"int8"`: where the kernels get it, and where it is ignored."""

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

import fastlstm
from fastlstm import backends

T, B, I, H = 3, 2, 4, 6


@pytest.fixture
def x():
    return torch.randn(T, B, I)


def run(module, x):
    """The output, where nothing needs a gradient."""
    with torch.no_grad():
        return module(x)[0]


@pytest.fixture
def seen(monkeypatch):
    """The precision that the kernel is called with, each time."""
    kernels, seen = backends.get("cpu").load(), []
    forward = kernels.forward

    def record(*arguments):
        seen.append(arguments[-1])
        return forward(*arguments[:-1])

    monkeypatch.setattr(kernels, "forward", record)
    return seen


@pytest.mark.parametrize("precision", [None, "bf16", "int8"])
def test_the_kernel_gets_it_where_nothing_needs_a_gradient(seen, x, precision):
    ours = fastlstm.LSTM(I, H, 2, precision=precision)
    ours(x)
    run(ours, x)
    ours.requires_grad_(False)(x)
    ours(x.requires_grad_())
    assert seen == ["", precision or "", precision or "", ""]


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_it_is_for_float32(seen, x, precision):
    run(fastlstm.LSTM(I, H, dtype=torch.bfloat16, precision=precision), x.bfloat16())
    assert precision not in seen


def test_it_is_a_constant_of_the_graph(x):
    ours = fastlstm.LSTM(I, H, precision="bf16")
    traced = make_fx(lambda x: run(ours, x))(x)
    (node,) = (
        node
        for node in traced.graph.nodes
        if node.target is torch.ops.fastlstm.lstm_forward.default
    )
    assert node.args[-2:] == ("cpu", "bf16")


def test_other_backends_ignore_it(x):
    ours = fastlstm.LSTM(I, H, backend="aten", precision="bf16")
    expected = fastlstm.LSTM(I, H, backend="aten")
    expected.load_state_dict(ours.state_dict())
    assert torch.equal(run(ours, x), run(expected, x))
