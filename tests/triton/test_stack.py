"""Stacks in a wavefront of chunks: the results of the layers in turn."""

from itertools import pairwise

import pytest
import torch
from accuracy import assert_case

from fastlstm.backends.triton import persistent, plan, stack
from fastlstm.verify import Case, make_inputs, make_ours, make_peer, quantities


@pytest.fixture
def chunked(monkeypatch):
    """Two steps or three are a chunk; the counts of chunks, as they were cut."""
    counts, original = [], stack.cut

    def cut(*args, **kwargs):
        chunks = original(*args, **kwargs)
        counts.append(len(chunks))
        return chunks

    monkeypatch.setattr(stack, "SHORTEST", 2)
    monkeypatch.setattr(stack, "cut", cut)
    monkeypatch.setattr(persistent, "fit_beside_each_other", lambda *args: True)
    return counts


@pytest.mark.parametrize(
    ("layers", "chunks"), [(1, 1), (1, 4), (2, 1), (2, 3), (3, 2), (4, 4), (5, 3)], ids=str
)
def test_all_come_once_and_after_what_they_need(layers, chunks):
    order = list(stack.wavefront(layers, chunks))
    assert sorted(order) == [(n, k) for n in range(layers) for k in range(chunks)]
    for place, (n, k) in enumerate(order):
        assert {(n - 1, k), (n, k - 1)} - set(order[:place]) <= {(n - 1, k), (n, k - 1)} - set(
            order
        )
    distances = [abs(n + k - (m + j)) for (n, k), (m, j) in pairwise(order)]
    assert max(distances, default=0) <= 1  # diagonal by diagonal: neighbours may run together


CASES = [
    Case(7, 3, 5, 19, layers=2),
    Case(9, 2, 4, 16, layers=3, hx=False),
    Case(8, 3, 3, 40, layers=2, bias=False),
    Case(6, 3, 4, 24, layers=2, dtype="bfloat16"),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_chunks_by_steps(chunked, case):
    assert_case(case, "triton")
    assert min(chunked) > 1


@pytest.mark.parametrize("case", CASES, ids=str)
def test_chunks_by_persistent_kernels(chunked, launches, case):
    """On a GPU float32 is TF32, whose error is far above that of these kernels' tanh near 0."""
    assert_case(case, "triton", slack=2.0 if case.dtype == "bfloat16" else 5.0)
    assert min(chunked) > 1
    assert len(launches) == sum(chunked) * case.layers


@pytest.mark.parametrize("case", CASES[:3], ids=str)
def test_the_numbers_of_the_layers_in_turn(chunked, launches, case, monkeypatch):
    """What is carried from chunk to chunk is what a kernel carries from step to step."""
    ours, inputs = make_ours(make_peer(case), "triton"), make_inputs(case)
    got = quantities(ours, case, inputs)
    monkeypatch.setattr(stack, "SHORTEST", 100)
    expected = quantities(ours, case, inputs)
    assert chunked[-1] == 1
    for name, tensor in expected.items():
        torch.testing.assert_close(got[name], tensor, rtol=1e-5, atol=1e-6, msg=name)
        if "without grad" in name:
            assert torch.equal(got[name], tensor), name


@pytest.mark.parametrize(
    "case",
    [
        Case(7, 3, 5, 19),
        Case(7, 3, 5, 19, layers=2, bidirectional=True),
        Case(7, 3, 5, 19, layers=2, ragged=True),
        Case(3, 3, 5, 19, layers=2),
    ],
    ids=str,
)
def test_what_is_not_cut(chunked, case):
    """One layer, two directions, ragged batches, and too few steps."""
    assert_case(case, "triton")
    assert set(chunked) == {1}


def test_layers_that_fill_the_gpu_are_not_cut(launches, monkeypatch):
    monkeypatch.setattr(persistent, "device_of", lambda index: launches.device)
    rows = stack.Rows.padded(512, 16)
    x = torch.empty(1)
    small = plan.Group(8, 1, 32, 1, 1, 66, 66)
    for grid, fits in ((66, True), (67, False)):
        launches.wanted = lambda *args, grid=grid: small._replace(grid=grid)
        assert persistent.fit_beside_each_other(x, 512, rows, False) == fits
    launches.wanted = lambda *args: None
    assert not persistent.fit_beside_each_other(x, 512, rows, False)
