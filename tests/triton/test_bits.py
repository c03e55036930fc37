"""The same bits: whichever program goes first, and whatever else is in the batch."""

import random

import pytest
import standin
import torch

from fastlstm.backends.triton.plan import Limit
from fastlstm.verify import Case, make_inputs, make_ours, make_peer, quantities

GROUP, TILES2 = Limit(8, 1, 256), Limit(8, 2, 256)
SPLIT, SPLIT2 = Limit(8, 1, 128, 4, 32, 2), Limit(8, 2, 128, 4, 32, 1)
KINDS = [
    pytest.param(GROUP, GROUP, Case(6, 5, 4, 32, ragged=True, bidirectional=True), id="group"),
    pytest.param(TILES2, TILES2, Case(5, 19, 3, 32, ragged=True), id="tiles"),
    pytest.param(GROUP, SPLIT, Case(11, 3, 4, 64), id="split"),
    pytest.param(TILES2, SPLIT2, Case(11, 18, 4, 32, ragged=True), id="split tiles"),
]
ORDERS = {
    "the first as far as it can": lambda grid: range(grid),
    "the last as far as it can": lambda grid: range(grid)[::-1],
    "the second only when none else can": lambda grid: sorted(range(grid), key=(1).__eq__),
    "one in the middle only when none else can": lambda grid: sorted(
        range(grid), key=(grid // 2).__eq__
    ),
    "by chance": lambda grid: random.Random(0).sample(range(grid), grid),
}


@pytest.mark.parametrize(("forward", "backward", "case"), KINDS)
def test_in_any_order_of_the_programs(launches, poisoned, forward, backward, case):
    """A program that runs ahead, or comes last, overwrites nothing that another has yet to read."""
    launches.kind(forward, backward)
    ours, inputs = make_ours(make_peer(case), "triton"), make_inputs(case)
    first = quantities(ours, case, inputs)
    for name, order in ORDERS.items():
        launches.order = order
        for quantity, tensor in quantities(ours, case, inputs).items():
            assert torch.equal(tensor, first[quantity]), f"{name}: {quantity}"


def test_a_ring_of_too_few_slots_is_seen(launches, monkeypatch):
    """A program that comes last finds the sums of the next step where it looks for this one's."""
    monkeypatch.setitem(standin.REPLACED, "SLOTS", 1)
    launches.kind(GROUP, SPLIT)
    launches.order = ORDERS["the second only when none else can"]
    case = Case(6, 3, 4, 64)
    with pytest.raises(TimeoutError):
        quantities(make_ours(make_peer(case), "triton"), case, make_inputs(case))


@pytest.fixture
def exact_inputs():
    """Of few bits, so that no GEMM around the kernels rounds: it may depend on the batch."""

    def made(case):
        ours, inputs = make_ours(make_peer(case), "triton"), make_inputs(case)
        with torch.no_grad():
            for tensor in (*ours.parameters(), inputs["input"]):
                tensor.copy_((tensor * 8).round() / 8)
        return ours, inputs

    return made


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("limit", [None, GROUP, TILES2], ids=["program", "group", "tiles"])
def test_a_sequence_alone(launches, exact_inputs, limit, dtype):
    if limit:
        launches.kind(limit)
    case = Case(4, 18, 4, 32, bidirectional=True, dtype=dtype)
    ours, inputs = exact_inputs(case)
    with torch.no_grad():
        y, (h_n, c_n) = ours(inputs["input"], (inputs["h_0"], inputs["c_0"]))
        for b in (0, 7, 17):
            one = slice(b, b + 1)
            states = inputs["h_0"][:, one], inputs["c_0"][:, one]
            alone, (h_alone, c_alone) = ours(inputs["input"][:, one], states)
            assert torch.equal(alone, y[:, one])
            assert torch.equal(h_alone, h_n[:, one])
            assert torch.equal(c_alone, c_n[:, one])


@pytest.mark.parametrize("limit", [None, GROUP], ids=["program", "group"])
def test_a_packed_batch_of_equal_lengths_is_a_padded_one(launches, exact_inputs, limit):
    """And one more sequence, a shorter one, changes nothing of the others."""
    if limit:
        launches.kind(limit)
    case = Case(4, 3, 4, 32, bidirectional=True)
    ours, inputs = exact_inputs(case)
    with torch.no_grad():
        y, (h_n, _) = ours(inputs["input"])
        x = torch.cat((inputs["input"], inputs["input"][:, :1]), 1)
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, [4, 4, 4, 2])
        output, (h_packed, _) = ours(packed)
        padded, _ = torch.nn.utils.rnn.pad_packed_sequence(output)
    assert torch.equal(padded[:, :3], y)
    assert torch.equal(h_packed[:, :3], h_n)
