"""Forward-mode AD: tangents are the reference's; nn.LSTM has none in float32 on a CPU."""

import pytest
import torch
from torch.autograd import forward_ad

import fastlstm
from fastlstm import functional

T, B, I, H = 4, 2, 3, 5
NAMES = ["x", "h_0", "c_0", "weight_ih", "weight_hh", "bias_ih", "bias_hh"]
SHAPES = [(T, B, I), (1, B, H), (1, B, H), (4 * H, I), (4 * H, H), (4 * H,), (4 * H,)]


def layer(backend):
    def function(x, h_0, c_0, *weights):
        return functional.lstm(x, h_0, c_0, weights, backend=backend)

    return function


def tangents(function, point, directions):
    """Of the outputs, in a dual level."""
    with forward_ad.dual_level():
        duals = [
            tensor if direction is None else forward_ad.make_dual(tensor, direction)
            for tensor, direction in zip(point, directions, strict=True)
        ]
        return [forward_ad.unpack_dual(output).tangent for output in function(*duals)]


@pytest.mark.parametrize("requires_grad", [True, False])
@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no-grad"])
@pytest.mark.parametrize("name", [*NAMES, "all"])
def test_tangents(name, grad, requires_grad):
    point = [torch.randn(shape, requires_grad=requires_grad) for shape in SHAPES]
    directions = [torch.randn(shape) for shape in SHAPES]
    if name != "all":
        directions = [d if n == name else None for d, n in zip(directions, NAMES, strict=True)]
    with torch.set_grad_enabled(grad):
        got = tangents(layer("cpu"), point, directions)
    exact = [tensor.detach().double() for tensor in point]
    along = [d if d is None else d.double() for d in directions]
    expected = tangents(layer("aten"), exact, along)
    for tangent, other in zip(got, expected, strict=True):
        torch.testing.assert_close(tangent.double(), other, rtol=1e-4, atol=1e-5)


def test_jvp_of_the_module():
    ours, x, v = (
        fastlstm.LSTM(I, H, 2, bidirectional=True),
        torch.randn(T, B, I),
        torch.ones(T, B, I),
    )
    _, got = torch.func.jvp(lambda x: ours(x)[0], (x,), (v,))
    step = 1e-6
    ours.double()
    with torch.no_grad():
        ends = [ours(x.double() + sign * step * v.double())[0] for sign in (1, -1)]
    torch.testing.assert_close(got.double(), (ends[0] - ends[1]) / (2 * step), rtol=1e-4, atol=1e-5)


def test_forward_over_reverse():
    """Tangents of gradients: of the output's only, and of an input that both passes see."""
    ours, x = fastlstm.LSTM(I, H), torch.randn(T, B, I, requires_grad=True)
    y, dy = ours(x)[0], torch.randn(T, B, H)
    (expected,) = torch.autograd.grad(y, x, dy, retain_graph=True)
    with forward_ad.dual_level():
        (dx,) = torch.autograd.grad(y, x, forward_ad.make_dual(torch.zeros_like(dy), dy))
        torch.testing.assert_close(forward_ad.unpack_dual(dx).tangent, expected)

    def gradient(x):
        return torch.func.grad(lambda x: ours(x)[0].square().sum())(x)

    v = torch.randn(T, B, I)
    _, got = torch.func.jvp(gradient, (x.detach(),), (v,))
    loss = ours(x)[0].square().sum()
    (first,) = torch.autograd.grad(loss, x, create_graph=True)
    torch.testing.assert_close(got, torch.autograd.grad(first, x, v)[0])
