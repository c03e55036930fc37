"""How recurrences are cut into programs, and the tensors around them."""

import random

import pytest
import torch

from fastlstm.backends.triton import packing, plan
from fastlstm.backends.triton.rows import Rows

GPUS = {
    "H100": plan.Device(132, 227 << 10, 90),
    "A100": plan.Device(108, 163 << 10, 80),
    "a seventh of one": plan.Device(14, 163 << 10, 80),
    "an RTX": plan.Device(68, 99 << 10, 86),
}


def problems(count):
    draw = random.Random(0)
    for _ in range(count):
        H, B = 16 * draw.randint(1, 100), draw.choice([1, 2, 15, 16, 17, 32, 64, 100, 300])
        yield H, B, draw.choice([1, 2]), draw.choice([16, 32]), draw.random() < 0.5


@pytest.mark.parametrize("gpu", GPUS)
def test_a_plan_covers_the_problem_and_fits_the_gpu(gpu):
    device, kinds = GPUS[gpu], set()
    for H, B, directions, bits, backward in problems(3000):
        how = plan.choose(H, B, directions, bits, device, backward)
        kinds.add(type(how).__name__)
        if how is None:
            continue
        if isinstance(how, plan.Program):
            assert how.units >= H
            assert how.grid * plan.SEQUENCES >= directions * B
            continue
        assert how.grid <= device.multiprocessors
        assert how.programs * how.units >= H
        groups = how.grid // how.programs
        assert groups * how.programs == how.grid
        assert groups % directions == 0
        assert groups // directions * how.tiles * plan.SEQUENCES >= B
        assert how.chunk & (how.chunk - 1) == 0
        K = H if not backward else 4 * H // how.k_parts
        assert plan.WARPS * how.chunk * how.chunks >= K
        assert how.chunk * bits >= 512  # 16 bytes in each of four lanes
        assert plan.shared_memory(how, bits, backward) <= device.shared_memory
    assert kinds >= {"Program", "NoneType"}
    assert "Group" in kinds


def test_no_sequences_have_no_plan():
    assert plan.choose(64, 0, 1, 16, GPUS["H100"], False) is None


@pytest.mark.parametrize(
    ("H", "B", "bits", "backward"),
    [
        *[(H, 64, 16, backward) for H in (256, 512, 768, 1024) for backward in (False, True)],
        *[(512, 32, 32, False), (512, 32, 32, True), (256, 128, 16, False), (128, 128, 16, True)],
    ],
)
def test_sizes_that_these_kernels_are_for(H, B, bits, backward):
    assert plan.choose(H, B, 1, bits, GPUS["H100"], backward) is not None


@pytest.mark.parametrize("hidden", [1, 5, 16, 33])
@pytest.mark.parametrize("columns", [1, 7])
def test_pack_puts_the_gates_of_a_unit_side_by_side(hidden, columns):
    weights = [torch.randn(4 * hidden, columns) for _ in range(2)]
    units, size = hidden + 3, columns + 2
    packed = packing.pack(weights, units, size)
    assert packed.shape == (2, 4 * units, size)
    for d, weight in enumerate(weights):
        for gate in range(4):
            own = packed[d].view(units, 4, size)[:hidden, gate, :columns]
            assert torch.equal(own, weight.view(4, hidden, columns)[gate])
        assert packed[d].view(units, 4, size)[hidden:].eq(0).all()
        assert packed[d][:, columns:].eq(0).all()
        assert torch.equal(packing.unpack(packed[d], hidden, columns), weight)


def previous(rows, y, h_0, reverse):
    """The definition: h of the sequence's step before, or its h_0."""
    found = torch.empty_like(y)
    for t in range(rows.steps):
        before = t + 1 if reverse else t - 1
        for b in range(rows.size(t)):
            known = b < rows.size(before)
            found[rows.starts[t] + b] = y[rows.starts[before] + b] if known else h_0[b]
    return found


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("sizes", [[3, 3, 3], [1], [4, 2, 2, 1], [5, 5, 1], [2, 1, 1, 1]], ids=str)
def test_rows(sizes, reverse):
    rows = Rows.packed(torch.tensor(sizes), sizes[0])
    assert rows.ragged == (len(set(sizes)) > 1)
    assert (rows.steps, rows.total) == (len(sizes), sum(sizes))
    y, h_0 = torch.randn(rows.total, 2), torch.randn(sizes[0], 2)
    assert torch.equal(rows.previous(y, h_0, reverse), previous(rows, y, h_0, reverse))
    lengths = [sum(size > b for size in sizes) for b in range(sizes[0])]
    assert rows.lengths().tolist() == lengths
    last = rows.last(reverse)
    if last is not None:  # the reverse direction begins where a sequence ends
        assert last.tolist() == [rows.starts[n - 1] + b for b, n in enumerate(lengths)]
    else:
        assert not (reverse and rows.ragged)


def test_padded_rows_are_those_of_equal_lengths():
    padded, packed = Rows.padded(3, 4), Rows.packed(torch.tensor([4, 4, 4]), 4)
    assert list(padded.starts) == list(packed.starts)
    assert not packed.ragged
    assert list(padded.order(True)) == [(2, 3), (1, 2), (0, 1)]
    assert Rows.padded(3, 0).total == 0
