"""The persistent kernels' own source on the CPU, one thread for each program, against float64.

On a GPU they multiply float32 in TF32, which leaves far more than their tanh and order of sums do:
here, where products are exact, five times nn.LSTM's error is allowed in float32, else two.
"""

from dataclasses import replace

import pytest
import torch
from accuracy import assert_case

from fastlstm.backends.triton import plan
from fastlstm.backends.triton.plan import Limit
from fastlstm.verify import Case, make_inputs, make_ours, make_peer, quantities

DTYPES = ["float32", "bfloat16", "float16"]
SLACK = {"float32": 5.0, "bfloat16": 2.0, "float16": 2.0}
UNITS8, TILES2, TILES4 = Limit(8, 1, 256), Limit(8, 2, 256), Limit(16, 4, 256)
CHUNKS = Limit(16, 1, 256, chunk=32, resident=1)  # two of K, of weights one in shared memory
SPLIT, SPLIT2 = Limit(8, 1, 128, 4, 32, 2), Limit(8, 2, 128, 4, 32, 1)


def check(case):
    assert_case(case, "triton", SLACK[case.dtype])


PROGRAMS = [
    Case(5, 3, 4, 24),
    Case(1, 1, 3, 16, bidirectional=True),
    Case(4, 20, 4, 33, bidirectional=True),
    Case(7, 5, 4, 40, bidirectional=True, ragged=True),
    Case(6, 34, 4, 20, ragged=True, hx=False),
    Case(3, 2, 5, 60, bias=False),
    Case(4, 3, 5, 17, layers=3, bidirectional=True, ragged=True),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", PROGRAMS, ids=str)
def test_one_program_has_all_units(launches, poisoned, case, dtype):
    check(replace(case, dtype=dtype))
    assert {name for name, _, _ in launches} == {
        "program_forward_kernel",
        "program_backward_kernel",
    }
    tiles = -(-case.B // plan.SEQUENCES)
    assert {grid for _, grid, _ in launches} == {tiles * (2 if case.bidirectional else 1)}


GROUPS = [
    (Case(5, 3, 4, 8), UNITS8, 2),  # padded to 16 units
    (Case(6, 5, 4, 32), UNITS8, 4),
    (Case(1, 3, 4, 32, bidirectional=True), UNITS8, 8),
    (Case(5, 3, 4, 61, bidirectional=True), UNITS8, 16),
    (Case(7, 5, 4, 40, ragged=True, bidirectional=True), UNITS8, 12),
    (Case(4, 18, 4, 24, ragged=True), UNITS8, 8),
    (Case(4, 128, 2, 16, hx=False), Limit(16, 1, 256), 8),
    (Case(5, 20, 3, 32), TILES2, 4),
    (Case(5, 19, 3, 30, ragged=True, bidirectional=True), TILES2, 8),
    (Case(4, 50, 3, 32, ragged=True), TILES4, 2),
    (Case(4, 3, 5, 300), CHUNKS, 19),
    (Case(3, 2, 5, 32, layers=2, bias=False), UNITS8, 4),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("case", "limit", "grid"), GROUPS, ids=lambda v: str(v).replace(" ", ""))
def test_groups(launches, poisoned, case, limit, grid, dtype):
    launches.kind(limit)
    check(replace(case, dtype=dtype))
    assert {name for name, _, _ in launches} == {"group_forward_kernel", "group_backward_kernel"}
    assert {grid for _, grid, _ in launches} == {grid}


SPLITS = [
    (Case(9, 3, 4, 32), SPLIT, 4),
    (Case(9, 5, 4, 61), SPLIT, 8),
    (Case(1, 5, 4, 64), SPLIT, 8),
    (Case(12, 20, 4, 40, ragged=True, bidirectional=True), SPLIT, 32),
    (Case(10, 20, 3, 64, ragged=True), SPLIT2, 8),
    (Case(9, 33, 3, 32, bidirectional=True), SPLIT2, 16),
]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("case", "limit", "grid"), SPLITS, ids=lambda v: str(v).replace(" ", ""))
def test_backward_with_k_split(launches, poisoned, case, limit, grid, dtype):
    """More steps than the ring has slots, too."""
    launches.kind(UNITS8, limit)
    check(replace(case, dtype=dtype))
    assert ("split_backward_kernel", grid) in {(name, size) for name, size, _ in launches}


def test_programs_wait_for_each_other(launches):
    launches.kind(UNITS8, SPLIT)
    check(Case(12, 3, 4, 64))
    assert all(polls > 0 for _, _, polls in launches)


def test_one_program_with_weights_in_shared_memory(launches, poisoned):
    check(Case(3, 2, 5, 100, dtype="bfloat16"))
    assert launches[-1][0] == "program_backward_kernel"


def test_what_a_plan_chooses_for_a_gpu(launches):
    check(Case(3, 3, 4, 140, dtype="bfloat16"))
    assert [(name, grid) for name, grid, _ in launches] == [
        *[("group_forward_kernel", 18)] * 2,
        ("group_backward_kernel", 18),
    ]


FORMS = [
    pytest.param(None, Case(6, 3, 4, 24, ragged=True, bidirectional=True), id="program"),
    pytest.param((UNITS8, UNITS8), Case(6, 3, 4, 24, ragged=True, bidirectional=True), id="group"),
    pytest.param((TILES2, SPLIT2), Case(6, 18, 4, 32), id="split"),
]


@pytest.mark.parametrize(("kinds", "case"), FORMS)
def test_the_same_bits_every_time(launches, kinds, case):
    if kinds:
        launches.kind(*kinds)
    ours, inputs = make_ours(make_peer(case), "triton"), make_inputs(case)
    first = quantities(ours, case, inputs)
    for name, tensor in quantities(ours, case, inputs).items():
        assert torch.equal(tensor, first[name]), name


@pytest.mark.parametrize(("kinds", "case"), FORMS)
def test_no_gradient_of_y(launches, kinds, case):
    """Only h_n or c_n is used."""
    if kinds:
        launches.kind(*kinds)
    ours, peer, inputs = make_ours(make_peer(case), "triton"), make_peer(case), make_inputs(case)
    for used in (0, 1):
        found = []
        for module in (ours, peer):
            x = inputs["input"].clone().requires_grad_()
            module(x)[1][used].sum().backward()
            found.append([x.grad, *(p.grad for p in module.parameters())])
            module.zero_grad()
        torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kinds", "case"), FORMS)
def test_backward_twice(launches, kinds, case):
    if kinds:
        launches.kind(*kinds)
    ours = make_ours(make_peer(case), "triton")
    x = make_inputs(case)["input"].requires_grad_()
    y = ours(x)[0].sum()
    first = torch.autograd.grad(y, [x, *ours.parameters()], retain_graph=True)
    for a, b in zip(first, torch.autograd.grad(y, [x, *ours.parameters()]), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_nan_of_all_ones_is_a_nan_and_not_a_wait(launches, dtype):
    """It looks like a word that has not arrived; in h_0 it is made another NaN."""
    launches.kind(UNITS8)
    case = Case(3, 2, 4, 16)
    ours = make_ours(make_peer(case), "triton").to(dtype)
    inputs = {name: tensor.to(dtype) for name, tensor in make_inputs(case).items()}
    bits = torch.int32 if dtype is torch.float32 else torch.int16
    inputs["h_0"].view(bits)[0, 1, 3] = -1
    with torch.no_grad():
        y, _ = ours(inputs["input"], (inputs["h_0"], inputs["c_0"]))
        right, _ = make_peer(case).to(dtype)(inputs["input"], (inputs["h_0"], inputs["c_0"]))
    assert y[:, 1].isnan().all()
    assert right[:, 1].isnan().all()
    tolerance = 20 * torch.finfo(dtype).eps
    torch.testing.assert_close(y[:, 0], right[:, 0], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("where", ["input", "c_0"])
def test_nan_and_inf_stay_in_their_sequence(launches, where):
    launches.kind(UNITS8)
    case = Case(3, 2, 4, 16)
    ours, inputs = make_ours(make_peer(case), "triton"), make_inputs(case)
    inputs[where][0, 0, 0] = torch.nan
    with torch.no_grad():
        y, _ = ours(inputs["input"], (inputs["h_0"], inputs["c_0"]))
    assert y[:, 0].isnan().any()
    assert y[:, 1].isfinite().all()


@pytest.mark.parametrize(("kinds", "case"), FORMS[:2])
def test_a_sequence_alone_is_what_it_is_in_a_batch(launches, kinds, case):
    if kinds:
        launches.kind(*kinds)
    case = replace(case, ragged=False)
    ours, inputs = make_ours(make_peer(case), "triton"), make_inputs(case)
    with torch.no_grad():
        y, _ = ours(inputs["input"], (inputs["h_0"], inputs["c_0"]))
        for b in range(case.B):
            one = slice(b, b + 1)
            alone, _ = ours(inputs["input"][:, one], (inputs["h_0"][:, one], inputs["c_0"][:, one]))
            torch.testing.assert_close(alone, y[:, one], rtol=1e-6, atol=1e-6)
