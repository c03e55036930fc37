"""The C++ kernels' gradients: any part of them, from any part of the results."""

import copy
from dataclasses import replace
from functools import lru_cache

import pytest
import torch
from accuracy import assert_as_accurate

from fastlstm import LSTM
from fastlstm.verify import Case, make_inputs, make_ours, make_peer
from fastlstm.verify_cases import DTYPES

# Leaves by the beginning of their names.
WANTED = {
    "input": ("input",),
    "h_0": ("h_0",),
    "c_0": ("c_0",),
    "input and h_0": ("input", "h_0"),
    "weights": ("weight", "bias"),
    "weight_ih": ("weight_ih",),
    "weight_hh": ("weight_hh",),
    "biases": ("bias",),
    "one bias and c_0": ("bias_hh_l0", "c_0"),
    "all": ("",),
}
USED = ["output", "h_n", "c_n", "output h_n", "output c_n", "h_n c_n"]
SHAPES = {
    "one chunk": Case(5, 3, 4, 37, bidirectional=True),
    "chunks": Case(30, 20, 3, 18, ragged=True),
    "projected": Case(5, 3, 4, 37, proj=9),
    "projected chunks": Case(30, 20, 3, 18, bidirectional=True, proj=7),
    "one step": Case(1, 5, 4, 21),
}


def gradients(module, case, wanted, used, inputs=None):
    """The gradients of the leaves `wanted` from the results `used`; the others arrive as None."""
    inputs, like = inputs or make_inputs(case), next(module.parameters())
    leaves = {name: inputs[name].to(like) for name in ("input", "h_0", "c_0")}
    leaves |= dict(module.named_parameters())
    for name, tensor in leaves.items():
        tensor.requires_grad_(name.startswith(WANTED[wanted]))
    x = leaves["input"]
    if case.ragged:
        x = torch.nn.utils.rnn.pack_padded_sequence(x, case.lengths(), enforce_sorted=False)
    output, (h_n, c_n) = module(x, (leaves["h_0"], leaves["c_0"]))
    results = {"output": output.data if case.ragged else output, "h_n": h_n, "c_n": c_n}
    asked = {name: tensor for name, tensor in leaves.items() if tensor.requires_grad}
    outputs = [results[name] for name in used.split()]
    arriving = [inputs[f"d_{name}"].to(like) for name in used.split()]
    grads = torch.autograd.grad(outputs, list(asked.values()), arriving, allow_unused=True)
    return dict(zip(asked, grads, strict=True))


@lru_cache(maxsize=1000)
def expected(*args):
    """The gradients of the float64 oracle and of nn.LSTM."""
    peer = make_peer(args[0])
    return gradients(copy.deepcopy(peer).double(), *args), gradients(peer, *args)


@pytest.mark.parametrize("used", USED)
@pytest.mark.parametrize("wanted", WANTED)
@pytest.mark.parametrize("shape", SHAPES)
def test_part_of_the_gradients(isa, dtype, shape, wanted, used):
    case = replace(SHAPES[shape], dtype=dtype)
    oracle, peers = expected(case, wanted, used)
    got = gradients(make_ours(make_peer(case), "cpu"), case, wanted, used)
    assert list(got) == list(oracle)
    for name, tensor in got.items():
        assert_as_accurate(name, tensor, oracle[name], peers[name])


@pytest.mark.parametrize("shape", SHAPES)
def test_a_part_is_bitwise_what_it_is_of_all(isa, dtype, shape):
    """What else is asked for does not show."""
    case = replace(SHAPES[shape], dtype=dtype)
    ours = make_ours(make_peer(case), "cpu")
    whole = gradients(ours, case, "all", "output h_n c_n")
    for wanted in WANTED:
        for name, tensor in gradients(ours, case, wanted, "output h_n c_n").items():
            assert torch.equal(tensor, whole[name]), f"{wanted}: {name}"


@pytest.mark.parametrize("used", USED)
@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_not_used_is_a_gradient_of_zero(isa, dtype, shape, used):
    case = replace(SHAPES[shape], dtype=dtype)
    ours, inputs = make_ours(make_peer(case), "cpu"), make_inputs(case)
    for name in {"output", "h_n", "c_n"} - set(used.split()):
        inputs[f"d_{name}"].zero_()
    zeros = gradients(ours, case, "all", "output h_n c_n", inputs)
    for name, tensor in gradients(ours, case, "all", used).items():
        assert torch.equal(tensor, zeros[name]), name


@pytest.mark.parametrize("proj", [0, 5])
def test_many_rows_whose_loss_is_of_the_last_step(isa, dtype, proj):
    """Its gradients are large, and those of the steps before are added to them."""
    torch.manual_seed(0)
    like = {"dtype": DTYPES[dtype]}
    peer = torch.nn.LSTM(16, 24, proj_size=proj, **like)
    ours = LSTM(16, 24, proj_size=proj, backend="cpu", **like)
    ours.load_state_dict(peer.state_dict())
    x = torch.randn(8, 6000, 16, **like)

    def gradients_of_weights(module):
        output, _ = module(x.to(next(module.parameters())))
        output[-1].float().square().sum().backward()
        return [parameter.grad for parameter in module.parameters()]

    names = [name for name, _ in peer.named_parameters()]
    oracle = gradients_of_weights(copy.deepcopy(peer).double())
    ours_and_peers = gradients_of_weights(ours), oracle, gradients_of_weights(peer)
    for tensors in zip(names, *ours_and_peers, strict=True):
        assert_as_accurate(*tensors)
