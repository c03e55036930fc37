"""A stack on the C++ kernels is its layers one after the other, bit for bit.

Of small layers those above follow those below on other threads, in wavefront; on one thread they
run in turn.
"""

import pytest
import torch

import fastlstm
from fastlstm import _C, functional
from fastlstm.backends import cpu, cpu_memory

FORMS = {
    "plain": {},
    "projection": {"proj_size": 3},
    "bidirectional": {"bidirectional": True},
    "no biases": {"bias": False},
}
# I, H, L, T, B. From some hundred thousand multiply-adds on the stack runs in wavefront.
SIZES = {
    "tiny": (3, 5, 2, 4, 2),
    "small": (3, 9, 3, 4, 2),
    "wide input": (300, 40, 3, 30, 1),
    "chunks of other lengths": (4500, 64, 2, 270, 1),
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


@pytest.fixture(params=cpu.isas())
def isa(request):
    with cpu.use_isa(request.param):
        yield request.param


@pytest.mark.parametrize("ragged", [False, True], ids=["padded", "ragged"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("form", FORMS)
def test_a_stack_is_its_layers(form, sizes, dtype, ragged, isa, set_threads):
    inputs = problem(form, sizes, dtype, ragged)
    set_threads(1)
    expected = results(in_turn, inputs)
    for threads in (1, 2, 5):
        set_threads(threads)
        for got, one in zip(results(stacked, inputs), expected, strict=True):
            torch.testing.assert_close(got, one, rtol=0, atol=0)


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "checked"])
@pytest.mark.parametrize("needs", ["x", "weights", "first layer", "middle layer", "last layer"])
def test_some_gradients(needs, direct, set_threads, monkeypatch):
    set_threads(2)
    if not direct:
        monkeypatch.setattr(cpu, "_direct", _C.Direct(float, torch.empty_like, cpu_memory.KEPT))
    x, h_0, c_0, weights, *rest = problem("plain", "small", torch.float32, ragged=False)
    layers = {"first layer": weights[:4], "middle layer": weights[4:8], "last layer": weights[8:]}
    wanted = [x] if needs == "x" else layers.get(needs, weights)
    for tensor in (x, h_0, c_0, *weights):
        tensor.requires_grad_(any(tensor is other for other in wanted))
    inputs = (x, h_0, c_0, weights, *rest)
    got, expected = (
        torch.autograd.grad(sum(out.square().sum() for out in run(*inputs)), wanted)
        for run in (stacked, in_turn)
    )
    torch.testing.assert_close(got, expected, rtol=0, atol=0)


@pytest.mark.parametrize(("trained", "saved", "wanted"), [(0, [3], 1), (1, [2], 1), (2, [1], 1)])
def test_frozen_layers_cost_nothing(trained, saved, wanted, monkeypatch):
    """Those below save nothing, and no others' weights get gradients."""
    saves, needs = [], []
    forward, backward = cpu.forward, cpu.backward

    def seen_forward(*arguments):
        if arguments[6]:
            saves.append(arguments[5])
        return forward(*arguments)

    def seen_backward(*arguments):
        needs.append(sum(arguments[-1]))
        return backward(*arguments)

    monkeypatch.setattr(cpu, "forward", seen_forward)
    monkeypatch.setattr(cpu, "backward", seen_backward)
    ours = fastlstm.LSTM(4, 6, 3, backend="cpu").requires_grad_(False)
    own = [p for name, p in ours.named_parameters() if name.endswith(f"l{trained}")]
    for parameter in own:
        parameter.requires_grad_()
    torch.autograd.grad(ours(torch.randn(5, 2, 4))[0].sum(), own)
    assert (saves, needs) == (saved, [wanted])


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
