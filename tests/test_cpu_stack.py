"""A stack on the C++ kernels is its layers one after the other, bit for bit.

Of small layers those above follow those below on other threads, in wavefront; on one thread they
run in turn.
"""

import pytest
import torch

from fastlstm import functional

FORMS = {
    "plain": {},
    "projection": {"proj_size": 3},
    "bidirectional": {"bidirectional": True},
    "no biases": {"bias": False},
}
# I, H, L, T, B. From some hundred thousand multiply-adds on the stack runs in wavefront.
SIZES = {
    "tiny": (3, 5, 2, 4, 2),
    "wide input": (300, 40, 3, 30, 1),
    "many layers": (7, 33, 6, 50, 3),
    "too many layers": (4, 16, 70, 9, 2),
    "long": (5, 24, 2, 700, 3),
    "large": (20, 200, 3, 12, 5),
    "large batch": (20, 30, 3, 12, 17),
}


def problem(form, sizes, dtype, ragged):
    """x, h_0, c_0, weights, batch_sizes and num_layers."""
    input_size, hidden, layers, steps, batch = SIZES[sizes]
    peer = torch.nn.LSTM(input_size, hidden, layers, **FORMS[form]).to(dtype)
    directions = 2 if peer.bidirectional else 1
    counts = [max(1, batch - 2 * t * batch // steps) for t in range(steps)]
    batch_sizes = torch.tensor(counts) if ragged else None
    rows = (sum(counts),) if ragged else (steps, batch)
    x = torch.randn(*rows, input_size)
    h_0 = torch.randn(layers * directions, batch, peer.proj_size or hidden)
    c_0 = torch.randn(layers * directions, batch, hidden)
    inputs = [tensor.to(dtype).requires_grad_() for tensor in (x, h_0, c_0)]
    return *inputs, list(peer.parameters()), batch_sizes, layers


def in_turn(x, h_0, c_0, weights, batch_sizes, layers):
    arity = len(weights) // layers
    h_n, c_n = [], []
    for n, (h, c) in enumerate(zip(h_0.chunk(layers), c_0.chunk(layers), strict=True)):
        own = weights[n * arity : (n + 1) * arity]
        x, h, c = functional.lstm(x, h, c, own, batch_sizes, backend="cpu")
        h_n.append(h)
        c_n.append(c)
    return x, torch.cat(h_n), torch.cat(c_n)


def stacked(x, h_0, c_0, weights, batch_sizes, layers):
    return functional.lstm(x, h_0, c_0, weights, batch_sizes, num_layers=layers, backend="cpu")


def results(run, inputs):
    """Outputs without autograd, with it, and the gradients of all inputs."""
    with torch.no_grad():
        alone = run(*inputs)
    outputs = run(*inputs)
    x, h_0, c_0, weights, *_ = inputs
    arriving = [torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out) for out in outputs]
    return *alone, *outputs, *torch.autograd.grad(outputs, (x, h_0, c_0, *weights), arriving)


@pytest.mark.parametrize("ragged", [False, True], ids=["padded", "ragged"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("form", FORMS)
def test_a_stack_is_its_layers(form, sizes, dtype, ragged, set_threads):
    inputs = problem(form, sizes, dtype, ragged)
    set_threads(1)
    expected = results(in_turn, inputs)
    for threads in (1, 2, 5):
        set_threads(threads)
        for got, one in zip(results(stacked, inputs), expected, strict=True):
            torch.testing.assert_close(got, one, rtol=0, atol=0)


@pytest.mark.parametrize("needs", ["x", "weights"])
def test_some_gradients(needs, set_threads):
    set_threads(2)
    x, h_0, c_0, weights, *rest = problem("plain", "many layers", torch.float32, ragged=False)
    wanted = [x] if needs == "x" else weights
    for tensor in (x, h_0, c_0, *weights):
        tensor.requires_grad_(any(tensor is other for other in wanted))
    inputs = (x, h_0, c_0, weights, *rest)
    got, expected = (
        torch.autograd.grad(run(*inputs)[1].square().sum(), wanted) for run in (stacked, in_turn)
    )
    torch.testing.assert_close(got, expected, rtol=0, atol=0)


def test_bf16_weights_of_a_stack(set_threads):
    """The layers hand on what they round anyway, so that a stack gives the same on any threads."""
    inputs = problem("plain", "many layers", torch.float32, ragged=True)
    with torch.no_grad():
        several = []
        for threads in (1, 2):
            set_threads(threads)
            several.append(functional.lstm(*inputs[:5], num_layers=6, precision="bf16"))
        exact = functional.lstm(*inputs[:5], num_layers=6)
    torch.testing.assert_close(*several, rtol=0, atol=0)
    assert 0 < (several[0][0] - exact[0]).abs().max() < 0.02
