"""Gradients of gradients: double backward, functorch transforms, forward through penalties."""

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

import fastlstm
from fastlstm.verify import make_ours

T, B, I, H = 3, 2, 3, 4
BACKENDS = ["auto", "reference"]


def tiny(bidirectional=False):
    """A float64 LSTM as a function of its input, states and parameters, and a point to check at."""
    ours = fastlstm.LSTM(I, H, bidirectional=bidirectional, dtype=torch.float64)
    names = [name for name, _ in ours.named_parameters()]
    D = 2 if bidirectional else 1
    states = [torch.randn(D, B, H, dtype=torch.float64) for _ in range(2)]
    point = [torch.randn(T, B, I, dtype=torch.float64), *states]
    point += [parameter.detach() for parameter in ours.parameters()]

    def function(x, h_0, c_0, *weights):
        parameters = dict(zip(names, weights, strict=True))
        output, hx = torch.func.functional_call(ours, parameters, (x, (h_0, c_0)))
        return output, *hx

    return function, [tensor.requires_grad_() for tensor in point]


@pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "bidirectional"])
def test_gradcheck(bidirectional):
    assert gradcheck(*tiny(bidirectional))


def test_gradgradcheck():
    assert gradgradcheck(*tiny())


def penalty_gradients(module):
    """Parameter gradients of a penalty on the input's gradient."""
    x = torch.linspace(-1, 1, T * B * I, dtype=module.weight_ih_l0.dtype).view(T, B, I)
    x.requires_grad_()
    output, (_, c_n) = module(x)
    loss = output.square().sum() + c_n.sum()
    (grad,) = torch.autograd.grad(loss, x, create_graph=True)
    (grad.square().sum() + loss).backward()
    return {name: p.grad for name, p in module.named_parameters()} | {"input": x.grad}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "config", [{}, {"num_layers": 2}, {"bidirectional": True}], ids=["plain", "layers", "both-ways"]
)
def test_gradient_penalty(backend, config):
    peer = nn.LSTM(I, H, **config)
    got, expected = penalty_gradients(make_ours(peer, backend)), penalty_gradients(peer)
    for name, tensor in expected.items():
        torch.testing.assert_close(got[name], tensor, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("backend", BACKENDS)
def test_create_graph_does_not_change_first_gradients(backend):
    ours, x = fastlstm.LSTM(I, H, backend=backend), torch.randn(T, B, I)
    loss = ours(x)[0].square().sum()
    parameters = list(ours.parameters())
    kernel = torch.autograd.grad(loss, parameters, retain_graph=True)
    differentiable = torch.autograd.grad(loss, parameters, create_graph=True)
    assert all(grad.requires_grad for grad in differentiable)
    torch.testing.assert_close(kernel, differentiable)


@pytest.mark.parametrize("backend", BACKENDS)
class TestFunctorch:
    def test_grad(self, backend):
        ours, x = fastlstm.LSTM(I, H, backend=backend), torch.randn(T, B, I)
        got = torch.func.grad(lambda x: ours(x)[0].square().sum())(x)
        x.requires_grad_()
        (expected,) = torch.autograd.grad(ours(x)[0].square().sum(), x)
        torch.testing.assert_close(got, expected)

    def test_grad_of_parameters(self, backend):
        ours, x = fastlstm.LSTM(I, H, backend=backend), torch.randn(T, B, I)
        parameters = dict(ours.named_parameters())
        got = torch.func.grad(
            lambda p: torch.func.functional_call(ours, p, (x,))[0].square().sum()
        )(parameters)
        ours(x)[0].square().sum().backward()
        for name, parameter in parameters.items():
            torch.testing.assert_close(got[name], parameter.grad)

    def test_vmap_over_inputs(self, backend):
        ours, xs = fastlstm.LSTM(I, H, backend=backend), torch.randn(4, T, B, I)
        got = torch.func.vmap(lambda x: ours(x)[0])(xs)
        torch.testing.assert_close(got, torch.stack([ours(x)[0] for x in xs]))

    def test_vmap_over_parameters(self, backend):
        x = torch.randn(T, B, I)
        ensemble = [fastlstm.LSTM(I, H, backend=backend) for _ in range(3)]
        parameters, _ = torch.func.stack_module_state(ensemble)
        got = torch.func.vmap(lambda p: torch.func.functional_call(ensemble[0], p, (x,))[0])(
            parameters
        )
        torch.testing.assert_close(got, torch.stack([member(x)[0] for member in ensemble]))

    def test_per_sample_gradients(self, backend):
        ours, xs = fastlstm.LSTM(I, H, backend=backend), torch.randn(3, T, 1, I)
        parameters = {name: p.detach() for name, p in ours.named_parameters()}

        def loss(parameters, x):
            return torch.func.functional_call(ours, parameters, (x,))[0].square().sum()

        got = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, xs)
        for k, x in enumerate(xs):
            ours.zero_grad()
            ours(x)[0].square().sum().backward()
            for name, parameter in ours.named_parameters():
                torch.testing.assert_close(got[name][k], parameter.grad)

    def test_jacrev(self, backend):
        ours, x = fastlstm.LSTM(I, H, backend=backend), torch.randn(T, B, I)
        got = torch.func.jacrev(lambda x: ours(x)[1][0].sum((0, 1)))(x)
        expected = torch.autograd.functional.jacobian(lambda x: ours(x)[1][0].sum((0, 1)), x)
        torch.testing.assert_close(got, expected)
