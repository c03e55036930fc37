"""Gradients: as accurate as nn.LSTM's, whatever part of them is asked for."""

import pytest
import torch
from accuracy import assert_as_accurate, assert_case
from torch import nn

import fastlstm
from fastlstm.verify import Case, make_inputs, make_ours, make_peer, quantities

CASES = [
    Case(1, 1, 1, 1),
    Case(7, 3, 5, 33),
    Case(5, 2, 4, 6, layers=2, bidirectional=True),
    Case(6, 4, 3, 19, bias=False, hx=False),
    Case(9, 5, 3, 17, bidirectional=True, ragged=True),
    Case(9, 5, 3, 17, layers=2, ragged=True, hx=False),
    Case(12, 20, 100, 100),
]
T, B, I, H = 5, 3, 4, 6
LEAVES = ["input", "h_0", "c_0", "weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]


@pytest.fixture(params=["auto", "reference", "aten"])
def backend(request):
    return request.param


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_gradient(case, backend):
    assert_case(case, backend)


def leaves(module, dtype=torch.float32, requires_grad=LEAVES):
    """Inputs and parameters by name; only those in `requires_grad` require it."""
    generator = torch.Generator().manual_seed(5)
    shapes = {"input": (T, B, I), "h_0": (1, B, H), "c_0": (1, B, H)}
    tensors = {k: torch.randn(s, generator=generator).to(dtype) for k, s in shapes.items()}
    tensors |= dict(module.named_parameters())
    for name, tensor in tensors.items():
        tensor.requires_grad_(name in requires_grad)
    return tensors


def call(module, tensors):
    output, (h_n, c_n) = module(tensors["input"], (tensors["h_0"], tensors["c_0"]))
    return {"output": output, "h_n": h_n, "c_n": c_n}


def gradients(module, requires_grad=LEAVES, used=("output", "h_n", "c_n")):
    """The gradient of every leaf, None where it has none, of a loss on the outputs `used`."""
    tensors = leaves(module, module.weight_ih_l0.dtype, requires_grad)
    results = call(module, tensors)
    sum(results[name].square().sum() for name in used).backward()
    return {name: tensor.grad for name, tensor in tensors.items()}


def assert_same_gradients(backend, **kwargs):
    peer = nn.LSTM(I, H)
    got, expected = gradients(make_ours(peer, backend), **kwargs), gradients(peer, **kwargs)
    peer.zero_grad(set_to_none=True)
    oracle = gradients(peer.double(), **kwargs)
    for name, tensor in expected.items():
        assert (got[name] is None) == (tensor is None), name
        if tensor is not None:
            assert_as_accurate(name, got[name], oracle[name], tensor)


@pytest.mark.parametrize("only", LEAVES)
def test_one_leaf_requires_grad(backend, only):
    assert_same_gradients(backend, requires_grad=[only])


@pytest.mark.parametrize("frozen", LEAVES)
def test_one_leaf_is_frozen(backend, frozen):
    assert_same_gradients(backend, requires_grad=[name for name in LEAVES if name != frozen])


@pytest.mark.parametrize("used", ["output", "h_n", "c_n"])
def test_one_output_is_used(backend, used):
    assert_same_gradients(backend, used=[used])


def test_nothing_requires_grad(backend):
    ours = fastlstm.LSTM(I, H, backend=backend)
    results = call(ours, leaves(ours, requires_grad=[]))
    assert not any(tensor.requires_grad for tensor in results.values())


def test_unused_output_gradients_are_not_needed_from_a_final_state_of_a_stack(backend):
    ours, peer = fastlstm.LSTM(I, H, 2, backend=backend), nn.LSTM(I, H, 2)
    peer.load_state_dict(ours.state_dict())
    x = torch.randn(T, B, I)
    for module in (ours, peer):
        module(x)[1][1][0].sum().backward()  # c_n of the lower layer alone
    for name, parameter in peer.named_parameters():
        got = dict(ours.named_parameters())[name].grad
        expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(torch.zeros_like(parameter) if got is None else got, expected)


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(lambda: torch.randn(B, T, I).transpose(0, 1), id="transposed"),
        pytest.param(lambda: torch.randn(T, B, 2 * I)[..., ::2], id="strided"),
        pytest.param(lambda: torch.randn(T, 1, I).expand(T, B, I), id="expanded"),
        pytest.param(lambda: torch.randn(2 * T, B, I)[T:], id="offset"),
    ],
)
def test_non_contiguous_tensors(backend, view):
    """Input, states and the gradients that arrive, each without its own memory in order."""
    peer = nn.LSTM(I, H)
    ours = make_ours(peer, backend)
    base = view()
    state = torch.randn(1, H, B).transpose(1, 2)
    runs = []
    for module, dtype in ((ours, torch.float32), (peer, torch.float32), (peer, torch.float64)):
        module.to(dtype)
        x, h_0 = base.to(dtype).detach().requires_grad_(), state.to(dtype).detach().requires_grad_()
        output, (h_n, c_n) = module(x, (h_0, h_0 * 0.5))
        (output.transpose(0, 1)[..., ::2].sum() + h_n.mean() + c_n[..., 1:].sum()).backward()
        runs.append([output, x.grad, h_0.grad])
    for name, *tensors in zip(("output", "input", "h_0"), *runs, strict=True):
        got, expected, oracle = tensors
        assert_as_accurate(name, got, oracle, expected)


def test_the_same_tensor_as_both_states(backend):
    peer = nn.LSTM(I, H)
    runs = []
    for module in (make_ours(peer, backend), peer):
        x, state = torch.ones(T, B, I), torch.full((1, B, H), 0.3, requires_grad=True)
        module(x, (state, state))[0].sum().backward()
        runs.append(state.grad)
    torch.testing.assert_close(*runs)


def test_backward_twice_over_a_retained_graph(backend):
    ours = fastlstm.LSTM(I, H, backend=backend)
    tensors = leaves(ours)
    loss = call(ours, tensors)["output"].square().sum()
    first = torch.autograd.grad(loss, list(tensors.values()), retain_graph=True)
    second = torch.autograd.grad(loss, list(tensors.values()))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("case", CASES[1:], ids=str)
def test_bitwise_the_same_from_run_to_run(case, backend):
    ours, inputs = make_ours(make_peer(case), backend), make_inputs(case)
    first = quantities(ours, case, inputs)
    for _ in range(3):
        for name, tensor in quantities(ours, case, inputs).items():
            assert torch.equal(tensor, first[name]), name


def test_gradients_accumulate(backend):
    ours, x = fastlstm.LSTM(I, H, backend=backend), torch.randn(T, B, I)
    ours(x)[0].sum().backward()
    once = {name: parameter.grad.clone() for name, parameter in ours.named_parameters()}
    ours(x)[0].sum().backward()
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, 2 * once[name])
