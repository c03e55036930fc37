"""Whatever an LSTM is called with: what nn.LSTM gives, one episode at a time, in float64.

A thousand calls, the same every time; `FASTLSTM_EXAMPLES=100000 pytest --hypothesis-seed=N` draws
as many others.
"""

import copy
import os

import pytest
import torch
from called import at_once, in_episodes, make_peer, make_values, placed, results, spoil
from drawn import OUTPUTS, calls
from hypothesis import HealthCheck, given, settings

from fastlstm.backends import cpu
from fastlstm.verify import make_ours, relative_error

EXAMPLES = int(os.environ.get("FASTLSTM_EXAMPLES", "1000"))
# Of nn.LSTM's own error; and units in the last place, where that is small by luck: an error of one
# rounding at each of up to 13 steps. Of h and c also some units of 1: they are made of numbers of
# that order, which may cancel.
SLACK, FLOOR_ULPS, ULPS_OF_ONE = 4.0, 24.0, 4.0


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
    peers = results(peer, call, values, run, contiguous=True)
    if call.dtype == "bfloat16" and not all(t.isfinite().all() for t in peers.values()):
        # In torch's bfloat16 products with odd sizes a NaN gets into the rows beside it.
        peers = results(copy.deepcopy(peer).float(), call, values, run, contiguous=True)
    return oracle, peers


def assert_close(name, got, oracle, peer, largest):
    """`largest` gradient of the call: what a sum's terms may be of, where they cancel."""
    ulp, scale = torch.finfo(got.dtype).eps, oracle.abs().amax().item() if oracle.numel() else 0.0
    most = FLOOR_ULPS * largest if "grad" in name else ULPS_OF_ONE
    floor = ulp * max(FLOOR_ULPS, most / scale if scale else 0.0)
    error, limit = relative_error(got, oracle), max(SLACK * relative_error(peer, oracle), floor)
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
    sizes = [t.abs().amax().item() for name, t in oracle.items() if "grad" in name and t.numel()]
    for name, tensor in got.items():
        right = oracle.get(name, torch.zeros_like(tensor))
        assert tensor.shape == right.shape, name
        assert tensor.dtype is values["input"].dtype, name
        if all(t.isfinite().all() for t in peers.values()):
            assert_close(name, tensor, right, peers.get(name, right), max(sizes, default=0.0))
        else:
            finite = peers.get(name, right).isfinite()
            assert not (tensor.isfinite() & ~finite).any(), f"{name}: hides what is not finite"
            # Where no gradient arrives ours is 0, which a NaN spoils; torch leaves the product out.
            if "grad" not in name or call.arriving == set(OUTPUTS):
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
