"""Weights that change, by whatever way, have the effect that they have on nn.LSTM."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

import fastlstm


def test_weights_changed_in_place_or_replaced_are_seen():
    ours, peer, x = fastlstm.LSTM(5, 7), nn.LSTM(5, 7), torch.randn(3, 2, 5)
    ours(x)  # whatever a first call may cache
    ours.load_state_dict(peer.state_dict())
    torch.testing.assert_close(ours(x)[0], peer(x)[0])
    for module in (ours, peer):
        module.weight_hh_l0 = nn.Parameter(torch.full((28, 7), 0.1))
        module.bias_ih_l0.data.fill_(0.3)
    torch.testing.assert_close(ours(x)[0], peer(x)[0])


def assert_same_after(change, x):
    """`change` has the same effect on ours as on nn.LSTM, which a first call must not hide."""
    ours, peer = fastlstm.LSTM(5, 7), nn.LSTM(5, 7)
    peer.load_state_dict(ours.state_dict())
    for module in (ours, peer):
        module(x)
        change(module)
    for _ in range(2):
        torch.testing.assert_close(ours(x)[0], peer(x)[0])


def replace_flat_weight(module):
    module._flat_weights[1] = nn.Parameter(torch.full((28, 7), 0.1))


def replace_parameter_behind_its_back(module):
    module._parameters["weight_hh_l0"] = nn.Parameter(torch.full((28, 7), 0.1))


def replace_parameter_by_tensor(module):
    del module.weight_hh_l0
    module.weight_hh_l0 = torch.full((28, 7), 0.1)


@pytest.mark.parametrize(
    "change",
    [
        replace_flat_weight,
        replace_parameter_behind_its_back,
        replace_parameter_by_tensor,
        lambda module: prune.l1_unstructured(module, "weight_hh_l0", 0.5),
        lambda module: parametrizations.orthogonal(module, "weight_hh_l0"),
        lambda module: module.double().float(),
    ],
    ids=["flat", "behind", "tensor", "prune", "orthogonal", "apply"],
)
def test_a_change_of_weights_has_the_effect_that_it_has_on_nn_lstm(change):
    assert_same_after(change, torch.randn(3, 2, 5))


def test_functional_call_leaves_the_parameters():
    ours, x = fastlstm.LSTM(5, 7), torch.randn(3, 2, 5)
    before = ours(x)[0]
    zeros = {name: torch.zeros_like(p) for name, p in ours.named_parameters()}
    assert not torch.func.functional_call(ours, zeros, (x,))[0].any()
    assert torch.equal(ours(x)[0], before)


def test_an_optimizer_step_is_seen():
    ours, x = fastlstm.LSTM(5, 7), torch.randn(3, 2, 5)
    optimizer = torch.optim.SGD(ours.parameters(), lr=1.0)
    ours(x)[0].sum().backward()
    optimizer.step()
    peer = nn.LSTM(5, 7)
    peer.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(x)[0], peer(x)[0])


def test_moving_between_dtypes():
    ours, x = fastlstm.LSTM(5, 7).double().float(), torch.randn(3, 2, 5)
    peer = nn.LSTM(5, 7)
    peer.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(x)[0], peer(x)[0])


def test_weight_norm_parametrization():
    ours, peer, x = fastlstm.LSTM(5, 7), nn.LSTM(5, 7), torch.randn(3, 2, 5)
    peer.load_state_dict(ours.state_dict())
    for module in (ours, peer):
        parametrizations.weight_norm(module, "weight_hh_l0")
        module(x)[0].sum().backward()
    torch.testing.assert_close(ours(x)[0], peer(x)[0])
    for name, parameter in peer.named_parameters():
        torch.testing.assert_close(dict(ours.named_parameters())[name].grad, parameter.grad)
