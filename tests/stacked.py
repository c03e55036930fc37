"""Shared by the tests of a hidden size per layer: nn.LSTMs of one layer, one after the other."""

import copy

import torch
from accuracy import assert_as_accurate
from torch import nn
from torch.nn.utils.rnn import PackedSequence

import fastlstm

T, B, I = 6, 3, 5
SIZES = [18, 7, 11]
LENGTHS = [4, 6, 1]


class Stack(nn.Module):
    """What our LSTM of several sizes is, with nn.LSTM: states are tuples of a tensor per layer."""

    def __init__(self, sizes, proj_size=0, bidirectional=False, **config):
        super().__init__()
        outputs = [(1 + bidirectional) * (proj_size or size) for size in sizes]
        self.layers = nn.ModuleList(
            nn.LSTM(taken, size, proj_size=proj_size, bidirectional=bidirectional, **config)
            for taken, size in zip([I, *outputs], sizes, strict=False)
        )

    def forward(self, x, hx=None):
        states = []
        for n, layer in enumerate(self.layers):
            x, state = layer(x, hx and (hx[0][n], hx[1][n]))
            states.append(state)
        return x, tuple(zip(*states, strict=True))


def named_parameters(module):
    """Parameters by the names that they have in an LSTM of several layers."""
    layers = module.layers if isinstance(module, Stack) else [module]
    return {
        name.replace("_l0", f"_l{n}"): parameter
        for n, layer in enumerate(layers)
        for name, parameter in layer.named_parameters()
    }


def pair(sizes=SIZES, backend="auto", **config):
    """Ours and a stack of nn.LSTMs with its weights."""
    ours, peer = fastlstm.LSTM(I, sizes, **config, backend=backend), Stack(sizes, **config)
    with torch.no_grad():
        for name, parameter in named_parameters(peer).items():
            parameter.copy_(getattr(ours, name))
    return ours, peer


def make_input(module, batch=(B,)):
    return torch.randn((*batch, T, I) if module.batch_first and batch else (T, *batch, I))


def make_states(module, batch):
    """h and c, by layer; `batch` of ``()`` is of unbatched input."""
    rows = 1 + module.bidirectional
    h = [torch.randn(rows, *batch, module.proj_size or size) for size in module.hidden_size]
    c = [torch.randn(rows, *batch, size) for size in module.hidden_size]
    return tuple(h), tuple(c)


def moved(value, dtype):
    """Tensors, or packed ones, in tuples, detached, of another dtype, with gradients wanted."""
    if isinstance(value, PackedSequence):
        return value._replace(data=moved(value.data, dtype))
    if isinstance(value, torch.Tensor):
        return value.detach().to(dtype).requires_grad_()
    return value and tuple(moved(v, dtype) for v in value)


def results(call, module, x, hx, dtype):
    """Outputs and every gradient by name; `call(module, x, hx)`."""
    x, hx = moved(x, dtype), moved(hx, dtype)
    output, (h_n, c_n) = call(module, x, hx)
    output, rows = (v.data if isinstance(v, PackedSequence) else v for v in (output, x))
    named = {"output": output} | {f"h_n {n}": h for n, h in enumerate(h_n)}
    named |= {f"c_n {n}": c for n, c in enumerate(c_n)}
    leaves = {"input": rows} | named_parameters(module)
    for letter, states in zip("hc", hx or (), strict=False):
        leaves |= {f"{letter}_0 {n}": state for n, state in enumerate(states)}
    loss = sum(
        (torch.linspace(-1, 1, t.numel(), dtype=t.dtype).view_as(t) * t).sum()
        for t in named.values()
    )
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    return named | {f"d {name}": d for name, d in zip(leaves, gradients, strict=True)}


def assert_alike(ours, peer, x, hx=None, call=None, peer_call=None):
    """Outputs and every gradient are as accurate as the stack's."""
    call = call or (lambda module, *given: module(*given))
    peer_call = peer_call or call
    dtype = next(peer.parameters()).dtype
    oracle = results(peer_call, copy.deepcopy(peer).double(), x, hx, torch.float64)
    theirs = results(peer_call, peer, x, hx, dtype)
    got = results(call, ours, x, hx, dtype)
    assert set(got) == set(oracle)
    for name, tensor in got.items():
        assert_as_accurate(name, tensor, oracle[name], theirs[name])
    with torch.no_grad():
        output, states = call(ours, moved(x, dtype), moved(hx, dtype))
    output = output.data if isinstance(output, PackedSequence) else output
    assert_as_accurate("without grad", output, oracle["output"], theirs["output"])
    assert [type(own) for own in states] == [tuple, tuple]
