"""Shared by the accuracy tests: earned tolerances, and comparisons with nn.LSTM by name."""

import copy
from functools import lru_cache

import torch
from torch.nn.utils.rnn import PackedSequence

from fastlstm.verify import judge, make_inputs, make_ours, make_peer, quantities


def assert_as_accurate(name, got, oracle, peer, slack=2.0):
    """`got` may be at most `slack` times as far from the float64 `oracle` as torch's `peer` is."""
    assert got.shape == oracle.shape, f"{name}: shape {got.shape}, expected {oracle.shape}"
    assert got.dtype == peer.dtype, f"{name}: {got.dtype}, expected {peer.dtype}"
    error, peer_error, limit = judge(got.detach(), oracle.detach(), peer.detach(), slack)
    assert error <= limit < float("inf"), (
        f"{name}: error {error:.2e}, allowed {limit:.2e}, nn.LSTM {peer_error:.2e}"
    )


@lru_cache(maxsize=1000)
def expected(case):
    """The oracle's and nn.LSTM's results on a case: the same for every backend and variant."""
    inputs, peer = make_inputs(case), make_peer(case)
    oracle = quantities(copy.deepcopy(peer).double(), case, inputs)
    return oracle, quantities(peer, case, inputs)


def assert_case(case, backend="auto", slack=2.0):
    """Outputs, states and every gradient of a case, as accurate as nn.LSTM's."""
    oracle, peers = expected(case)
    got = quantities(make_ours(make_peer(case), backend), case, make_inputs(case))
    assert list(got) == list(oracle)
    for name, tensor in got.items():
        assert_as_accurate(f"{case}: {name}", tensor, oracle[name], peers[name], slack)


def to_float64(value):
    """A tensor, a PackedSequence, a tuple of them or None, in float64."""
    if isinstance(value, (torch.Tensor, PackedSequence)):
        return value.double()
    return value and tuple(to_float64(v) for v in value)


def named_outputs(module, x, hx=None):
    """Output and states by name; of a packed output also what it says about its rows."""
    output, (h_n, c_n) = module(x, hx)
    results = {"h_n": h_n, "c_n": c_n}
    if not isinstance(output, PackedSequence):
        return results | {"output": output}
    for name in ("batch_sizes", "sorted_indices", "unsorted_indices"):
        torch.testing.assert_close(getattr(output, name), getattr(x, name), msg=name)
    return results | {"output": output.data}


def assert_same_outputs(ours, peer, x, hx=None):
    """The same call on both modules gives outputs as accurate as nn.LSTM's."""
    oracle = named_outputs(copy.deepcopy(peer).double(), to_float64(x), to_float64(hx))
    peers = named_outputs(peer, x, hx)
    for name, tensor in named_outputs(ours, x, hx).items():
        assert_as_accurate(name, tensor, oracle[name], peers[name])
