"""Whatever an LSTM is called with: what nn.LSTM gives, one episode at a time, in float64.

A thousand calls, the same every time; `FASTLSTM_EXAMPLES=100000 pytest --hypothesis-seed=N` draws
as many others.
"""

import copy
import os

import pytest
import torch
from called import at_once, in_episodes, make_peer, make_values, placed, results, spoil
from drawn import calls
from hypothesis import HealthCheck, given, settings

from fastlstm.backends import cpu
from fastlstm.verify import make_ours, relative_error

EXAMPLES = int(os.environ.get("FASTLSTM_EXAMPLES", "1000"))
# Of nn.LSTM's own error; and units in the last place, where that is small by luck: an error of one
# rounding at each of up to 13 steps.
SLACK, FLOOR_ULPS = 4.0, 24.0


def examples(share):
    """That part of all examples, one at least."""
    return settings(
        max_examples=max(1, round(share * EXAMPLES)),
        deadline=None,
        database=None,
        derandomize="FASTLSTM_EXAMPLES" not in os.environ,
        suppress_health_check=list(HealthCheck),
    )


def expected(call, peer, values):
    """What should come out, and nn.LSTM's own results in the call's dtype."""
    run = at_once if call.form in ("padded", "unbatched", "packed") else in_episodes
    oracle = results(copy.deepcopy(peer).double(), call, values, run, contiguous=True)
    return oracle, results(peer, call, values, run, contiguous=True)


def assert_close(name, got, oracle, peer):
    error, eps = relative_error(got, oracle), torch.finfo(got.dtype).eps
    limit = max(SLACK * relative_error(peer, oracle), FLOOR_ULPS * eps)
    assert error <= limit, f"{name}: error {error:.2e}, allowed {limit:.2e}"


def assert_right(call, backend):
    """Results and gradients near the oracle's; where a number is bad, finite where nn.LSTM is."""
    peer, values = make_peer(call), make_values(call)
    spoil(call, peer, values)
    oracle, peers = expected(call, peer, values)
    ours = make_ours(peer, backend)
    if call.strided_weights:
        for parameter in ours.parameters():
            parameter.data = placed(parameter.data, "every second")
    torch.set_num_threads(call.threads)
    got = results(ours, call, values)
    torch.set_num_threads(1)
    assert set(got) >= set(peers)
    for name, tensor in got.items():
        right = oracle.get(name, torch.zeros_like(tensor))
        assert tensor.shape == right.shape, name
        assert tensor.dtype is values["input"].dtype, name
        if all(t.isfinite().all() for t in peers.values()):
            assert_close(name, tensor, right, peers.get(name, right))
        else:
            finite = peers.get(name, right).isfinite()
            assert torch.equal(tensor.isfinite(), finite), f"{name}: finite elsewhere"


@pytest.mark.parametrize("isa", cpu.isas())
@examples(0.7 / len(cpu.isas()))
@given(call=calls(("float32", "bfloat16")))
def test_any_call_on_cpu(call, isa):
    with cpu.use_isa(isa):
        assert_right(call, "cpu")


@pytest.mark.parametrize("backend", ["reference", "aten"])
@examples(0.15)
@given(call=calls(("float32", "float64"), threads=(1,)))
def test_any_call_on_torch_operators(call, backend):
    assert_right(call, backend)


@examples(0.02)
@given(call=calls(("float32",), projections=False, threads=(1,)))
def test_any_call_on_triton(call):
    pytest.importorskip("triton")
    assert_right(call, "triton")
