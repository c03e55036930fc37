"""torch.compile, torch.export, fake tensors, and the contract of the two operators."""

import pytest
import torch
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.testing import CompileCounter
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.library import opcheck

import fastlstm

T, B, I, H = 5, 3, 4, 6


@pytest.fixture(autouse=True)
def fresh_dynamo():
    torch._dynamo.reset()


def results(function, module, x):
    """Outputs and gradients of one call."""
    x = x.detach().requires_grad_()
    output, (h_n, c_n) = function(x)
    loss = output.square().sum() + h_n.sin().sum() + c_n.cos().sum()
    return [output, h_n, c_n, *torch.autograd.grad(loss, [x, *module.parameters()])]


@pytest.mark.parametrize("compiler", ["aot_eager", "inductor"])
@pytest.mark.parametrize(
    "config",
    [{}, {"num_layers": 2, "bidirectional": True, "batch_first": True}],
    ids=["plain", "stacked"],
)
def test_fullgraph(compiler, config):
    ours, x = fastlstm.LSTM(I, H, **config), torch.randn(T, B, I)
    compiled = torch.compile(ours, fullgraph=True, backend=compiler)
    torch.testing.assert_close(results(compiled, ours, x), results(ours, ours, x))
    with torch.no_grad():
        torch.testing.assert_close(compiled(x)[0], ours(x)[0])


def test_inductor_need_not_guess_what_the_operators_are():
    with torch._inductor.config.patch(implicit_fallbacks=False):
        ours, x = fastlstm.LSTM(I, H), torch.randn(T, B, I)
        compiled = torch.compile(ours, fullgraph=True)
        torch.testing.assert_close(results(compiled, ours, x), results(ours, ours, x))


def test_a_graph_for_any_length():
    ours, counter = fastlstm.LSTM(I, H), CompileCounter()
    compiled = torch.compile(ours, fullgraph=True, backend=counter, dynamic=True)
    for steps in (7, 9, 11):  # none is another size: equal sizes share a symbol
        x = torch.randn(steps, B, I)
        torch.testing.assert_close(compiled(x)[0], ours(x)[0])
    assert counter.frame_count == 1


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "non-strict"])
def test_export_with_any_length(strict):
    ours, x = fastlstm.LSTM(I, H, 2).eval(), torch.randn(T, B, I)
    shapes = {"input": {0: torch.export.Dim("steps", min=2)}}
    with torch.no_grad():
        program = torch.export.export(ours, (x,), strict=strict, dynamic_shapes=shapes)
        for steps in (2, 9):
            x = torch.randn(steps, B, I)
            torch.testing.assert_close(program.module()(x), ours(x))


@pytest.mark.parametrize("config", [{}, {"bidirectional": True, "num_layers": 2}], ids=str)
def test_fake_tensors_have_the_real_shapes(config):
    real = fastlstm.LSTM(I, H, **config)(torch.randn(T, B, I))
    with FakeTensorMode():
        ours = fastlstm.LSTM(I, H, **config)
        x = torch.randn(T, B, I, requires_grad=True)
        output, (h_n, c_n) = ours(x)
        (output.sum() + h_n.sum() + c_n.sum()).backward()
        assert x.grad.shape == x.shape
        assert all(p.grad.shape == p.shape for p in ours.parameters())
        fake = (output, h_n, c_n)
    for got, expected in zip(fake, (real[0], *real[1]), strict=True):
        assert (got.shape, got.stride(), got.dtype) == (
            expected.shape, expected.stride(), expected.dtype
        )  # fmt: skip


def op_inputs(layers, directions, packed, bias):
    """x, h_0, c_0, weights, batch_sizes, rows and num_layers for the operators."""
    batch_sizes = torch.tensor([3, 3, 2, 1]) if packed else None
    x = torch.randn(9, I) if packed else torch.randn(T, B, I)
    rest = [(4 * H, H), *([(4 * H,)] * 2 if bias else [])]
    shapes = [(4 * H, I), *rest] * directions
    shapes += [(4 * H, directions * H), *rest] * directions * (layers - 1)
    states = [torch.randn(layers * directions, B, H) for _ in range(2)]
    return x, *states, [torch.randn(shape) for shape in shapes], batch_sizes, None, layers


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("layers", [1, 3])
class TestOperators:
    @pytest.mark.parametrize("save", [True, False], ids=["save", "inference"])
    def test_forward(self, layers, directions, packed, bias, save):
        inputs = op_inputs(layers, directions, packed, bias)
        opcheck(torch.ops.fastlstm.lstm_forward.default, (*inputs, save, "cpu"))

    @pytest.mark.parametrize("needs", [(True, True), (True, False), (False, True)], ids=str)
    def test_backward(self, layers, directions, packed, bias, needs):
        inputs = op_inputs(layers, directions, packed, bias)
        y, h_n, c_n, *kept = torch.ops.fastlstm.lstm_forward.default(*inputs, True, "cpu")
        dy, dh_n, dc_n = (torch.randn_like(tensor) for tensor in (y, h_n, c_n))
        needs_dweights = [needs[1] and layer != 1 for layer in range(layers)]
        arguments = (dy, dh_n, dc_n, *inputs, y, *kept, needs[0], needs_dweights, "cpu")
        opcheck(torch.ops.fastlstm.lstm_backward.default, arguments)


def test_one_pair_of_operators_in_the_graphs():
    """Forward and backward hold an operator each: no loop over steps is traced."""
    seen = []

    def record(graph, example_inputs):
        seen.append([str(n.target) for n in graph.graph.nodes if "fastlstm" in str(n.target)])
        return graph

    ours = fastlstm.LSTM(I, H, backend="cpu")
    recorder = aot_autograd(fw_compiler=record, bw_compiler=record)
    compiled = torch.compile(ours, fullgraph=True, backend=recorder)
    results(compiled, ours, torch.randn(T, B, I))
    assert seen == [["fastlstm.lstm_forward.default"], ["fastlstm.lstm_backward.default"]]


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "non-strict"])
@pytest.mark.parametrize("grad", [True, False], ids=["for-training", "for-inference"])
def test_an_exported_program_has_gradients(strict, grad):
    ours, x = fastlstm.LSTM(I, H, 2, bidirectional=True), torch.randn(T, B, I)
    with torch.set_grad_enabled(grad):
        program = torch.export.export(ours, (x,), strict=strict)
    for found in (program, program.run_decompositions()):
        module = found.module()
        torch.testing.assert_close(results(module, module, x), results(ours, ours, x))
