"""The operators on the C++ kernels, called past the module and autograd that go before them."""

import pytest
import torch

from fastlstm import functional
from fastlstm.backends import cpu, cpu_memory

T, B, I, H = 4, 2, 3, 7
SIZES = torch.tensor([2, 2, 1])


def arguments(input_size=I, packed=False, directions=1, layers=1):
    """x, h_0, c_0, weights, batch_sizes and num_layers."""
    x = torch.randn(5, input_size) if packed else torch.randn(T, B, input_size)
    states = [torch.randn(layers * directions, B, H) for _ in range(2)]
    rest = [(4 * H, H), (4 * H,), (4 * H,)]
    shapes = [(4 * H, input_size), *rest] * directions
    shapes += [(4 * H, directions * H), *rest] * directions * (layers - 1)
    weights = [torch.randn(shape) for shape in shapes]
    return x, *states, weights, SIZES if packed else None, layers


def operands(inputs):
    """Inputs of a backend as those of an operator: without a row map."""
    return *inputs[:5], None, *inputs[5:]


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
def test_no_input_is_as_in_torch_lstm(packed):
    """nn.LSTM refuses input_size=0, torch.lstm runs it: biases and states are left."""
    x, h_0, c_0, weights, sizes, _ = arguments(0, packed)
    results = {}
    for backend in ("cpu", "aten"):
        for grad in (False, True):
            leaves = [weight.clone().requires_grad_(grad) for weight in weights]
            outputs = functional.lstm(x, h_0, c_0, leaves, sizes, backend=backend)
            results[backend, grad] = outputs
            if grad:
                loss = sum(output.sum() for output in outputs)
                results[backend, grad] = (*outputs, *torch.autograd.grad(loss, leaves))
    for grad in (False, True):
        torch.testing.assert_close(results["cpu", grad], results["aten", grad])


def test_the_fake_without_input_has_the_real_shapes():
    inputs = operands(arguments(0))
    torch.library.opcheck(torch.ops.fastlstm.lstm_forward.default, (*inputs, True, "cpu"))


def test_what_is_saved_is_not_in_bf16():
    """Where gradients are wanted, the precision is ignored."""
    inputs = operands(arguments())
    expected = torch.ops.fastlstm.lstm_forward(*inputs, True, "cpu")
    got = torch.ops.fastlstm.lstm_forward(*inputs, True, "cpu", "bf16")
    torch.testing.assert_close(got, expected, rtol=0, atol=0)


@pytest.mark.parametrize("pooled", [0, 1 << 60], ids=["pooled", "plain"])
@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
def test_the_backend_allocates_on_the_cpu_under_another_default_device(packed, pooled, monkeypatch):
    monkeypatch.setattr(cpu_memory, "KEPT", pooled)
    x, h_0, c_0, weights, sizes, _ = inputs = arguments(packed=packed)
    with torch.device("meta"):
        y, h_n, c_n, *kept = cpu.forward(*inputs, True)
        ones = [torch.ones_like(tensor) for tensor in (y, h_n, c_n)]
        dx, *_ = cpu.backward(*ones, *inputs, y, *kept, True, [True])
    leaf = x.clone().requires_grad_()
    outputs = functional.lstm(leaf, h_0, c_0, weights, sizes, backend="reference")
    loss = sum(output.sum() for output in outputs)
    torch.testing.assert_close(dx, torch.autograd.grad(loss, leaf)[0])


NAMES = ("dy", "dh_n", "dc_n", "x", "h_0", "c_0", "y", "below", "c", "gates")


@pytest.mark.parametrize("spoil", ["shorter", "flat", "none of it"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
def test_backward_refuses_what_forward_did_not_give(packed, name, spoil):
    x, h_0, c_0, weights, sizes, layers = inputs = arguments(packed=packed, directions=2, layers=2)
    y, h_n, c_n, *kept = torch.ops.fastlstm.lstm_forward(*operands(inputs), True, "cpu")
    tensors = dict(zip(NAMES, (y, h_n, c_n, x, h_0, c_0, y, *kept), strict=True))
    tensor = tensors[name]
    spoilt = {"shorter": tensor[:-1], "flat": tensor.flatten(), "none of it": tensor[..., :0]}
    tensors[name] = spoilt[spoil]
    *arriving, x, h_0, c_0, y, below, c, gates = tensors.values()
    inputs = operands((x, h_0, c_0, weights, sizes, layers))
    words = r"h_0|input|weight_ih|y must" if name in ("x", "h_0", "c_0") else f"{name} must have"
    saved = y, below, c, gates
    with pytest.raises(RuntimeError, match=words):
        torch.ops.fastlstm.lstm_backward(*arriving, *inputs, *saved, True, [True] * 2, "cpu")


def test_no_directions_are_an_error():
    x, h_0, c_0, weights, sizes, layers = arguments()
    inputs = operands((x, h_0[:0], c_0[:0], weights, sizes, layers))
    with pytest.raises(RuntimeError, match="D = 1 or 2"):
        torch.ops.fastlstm.lstm_forward(*inputs, True, "cpu")
    saved = x, x, x, x
    with pytest.raises(RuntimeError, match="D = 1 or 2"):
        torch.ops.fastlstm.lstm_backward(x, x, x, *inputs, *saved, True, [True], "cpu")
