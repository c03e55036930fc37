"""NaN and Inf travel, and large values saturate, as in nn.LSTM."""

import pytest
import torch
from accuracy import assert_as_accurate
from torch import nn

from fastlstm.verify import make_ours

T, B, I, H = 5, 4, 3, 21


def run(module, x, h_0, c_0):
    """Outputs and gradients by name; gradients of a sum, so that nothing is lost or made."""
    leaves = {"input": x, "h_0": h_0, "c_0": c_0}
    leaves = {k: v.to(module.weight_ih_l0).detach().requires_grad_() for k, v in leaves.items()}
    output, (h_n, c_n) = module(leaves["input"], (leaves["h_0"], leaves["c_0"]))
    leaves |= dict(module.named_parameters())
    grads = torch.autograd.grad(output.sum() + c_n.sum(), list(leaves.values()))
    results = {"output": output.detach(), "h_n": h_n.detach(), "c_n": c_n.detach()}
    return results | dict(zip((f"grad {name}" for name in leaves), grads, strict=True))


def assert_same_but_for_kind(got, expected):
    """Equal; of gradients, a NaN of nn.LSTM may be an Inf of ours: 0 * Inf, or nearly 0 * Inf."""
    for name, tensor in expected.items():
        ours = got[name]
        if name.startswith("grad"):
            assert torch.equal(ours.isfinite(), tensor.isfinite()), name
            ours, tensor = ours[ours.isfinite()], tensor[tensor.isfinite()]
        torch.testing.assert_close(ours, tensor, equal_nan=True, msg=name)


def point():
    return {"x": torch.randn(T, B, I), "h_0": torch.randn(1, B, H), "c_0": torch.randn(1, B, H)}


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")], ids=str)
@pytest.mark.parametrize("where", ["x", "h_0", "c_0"])
def test_bad_values_travel(bad, where):
    """Outputs are NaN, infinite or finite, and gradients finite, exactly where nn.LSTM's are."""
    peer, tensors = nn.LSTM(I, H), point()
    tensors[where][-1, 1, 2] = bad
    expected, got = run(peer, **tensors), run(make_ours(peer), **tensors)
    assert any(not tensor.isfinite().all() for tensor in expected.values()) or bad != bad
    assert_same_but_for_kind(got, expected)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")], ids=str)
@pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0"])
def test_bad_weights_travel(bad, name):
    peer, tensors = nn.LSTM(I, H), point()
    with torch.no_grad():
        getattr(peer, name).view(-1)[7] = bad
    assert_same_but_for_kind(run(make_ours(peer), **tensors), run(peer, **tensors))


# Cells of about 1e4 are left out: whether tanh has saturated after a few steps hinges on the last
# bits of c, and nn.LSTM's own error is anywhere between one unit in the last place and thirty.
@pytest.mark.parametrize(
    ("where", "scale"),
    [
        *(("x", s) for s in (1e-30, 1e-6, 10.0, 100.0, 1e4)),
        *(("c_0", s) for s in (1e-30, 10, 1e30)),
    ],
)
def test_extreme_scales(where, scale):
    peer, tensors = nn.LSTM(I, H), point()
    tensors[where] = tensors[where] * scale
    expected, got = run(peer, **tensors), run(make_ours(peer), **tensors)
    oracle = run(nn.LSTM.double(peer), **tensors)
    for name, tensor in expected.items():
        assert_as_accurate(name, got[name], oracle[name], tensor)


@pytest.mark.parametrize("sign", [1, -1], ids=["open", "shut"])
def test_saturated_gates(sign):
    """With every gate at its end, the values and gradients are exactly finite."""
    peer, tensors = nn.LSTM(I, H), point()
    with torch.no_grad():
        peer.bias_ih_l0.fill_(sign * 200.0)
    expected, got = run(peer, **tensors), run(make_ours(peer), **tensors)
    for name, tensor in expected.items():
        torch.testing.assert_close(got[name], tensor, msg=name)


def test_large_activations_do_not_lose_small_ones_in_the_same_vector():
    peer, tensors = nn.LSTM(I, H), point()
    with torch.no_grad():
        peer.bias_ih_l0[::2] += torch.linspace(-90, 90, 2 * H)
    expected, got = run(peer, **tensors), run(make_ours(peer), **tensors)
    oracle = run(nn.LSTM.double(peer), **tensors)
    for name, tensor in expected.items():
        assert_as_accurate(name, got[name], oracle[name], tensor)


def test_gates_shut_by_huge_inputs_stay_finite():
    peer, tensors = nn.LSTM(I, H), point()
    tensors["x"] = tensors["x"] * 1e30
    expected, got = run(peer, **tensors), run(make_ours(peer), **tensors)
    for name, tensor in expected.items():
        torch.testing.assert_close(got[name], tensor, msg=name)


@pytest.mark.parametrize("value", [float("inf"), 3e38, 1.0])
def test_a_shut_forget_gate_forgets(value):
    peer = torch.nn.LSTM(5, 7)
    with torch.no_grad():
        peer.bias_ih_l0[7:14] = -1000
    x, h_0, c_0 = torch.randn(1, 2, 5), torch.zeros(1, 2, 7), torch.full((1, 2, 7), value)
    torch.testing.assert_close(
        make_ours(peer, "cpu")(x, (h_0, c_0)), peer(x, (h_0, c_0)), equal_nan=True
    )
