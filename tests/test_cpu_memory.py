"""The C++ kernels and memory: all of a result is written, nothing else is, and little is kept."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accuracy import assert_case
from process import run_python

from fastlstm.verify import Case, make_inputs, make_ours, make_peer, quantities

# Two layers so that one layer's output feeds a kernel, both directions, sequences that end early.
HARD = Case(6, 5, 3, 37, layers=2, bidirectional=True, ragged=True)
PROJECTED = replace(HARD, proj=17)
CASES = [HARD, PROJECTED, Case(5, 3, 4, 130), Case(1, 1, 1, 1), Case(3, 40, 5, 20, hx=False)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_element_is_written(isa, threads, case, dtype, poison):
    """The memory that the backend allocates is full of NaN: an element left alone would show."""
    poisoned = poison()
    assert_case(replace(case, dtype=dtype), "cpu")
    assert poisoned


@pytest.mark.parametrize("case", CASES, ids=str)
def test_nothing_is_left_of_the_call_before(isa, case, dtype):
    """A call gets the memory that the last one worked in, here full of NaN: the same bits."""
    case = replace(case, dtype=dtype)
    ours, inputs = make_ours(make_peer(case), "cpu"), make_inputs(case)
    spoilt = make_ours(make_peer(case), "cpu")
    for parameter in spoilt.parameters():
        parameter.data.fill_(float("nan"))
    nan = {name: torch.full_like(tensor, float("nan")) for name, tensor in inputs.items()}
    first = quantities(ours, case, inputs)
    assert all(tensor.isnan().any() for tensor in quantities(spoilt, case, nan).values())
    for name, tensor in quantities(ours, case, inputs).items():
        assert torch.equal(tensor, first[name]), name


def test_the_same_bits_after_many_shapes(set_threads):
    set_threads(2)
    shapes = itertools.product((1, 3, 30), (1, 4, 33), (1, 18), (7, 90))
    kinds = {}, {"bidirectional": True, "ragged": True}, {"proj": 5, "dtype": "bfloat16"}
    cases = [Case(*shape, **kind) for shape in shapes for kind in kinds]
    jobs = [(make_ours(make_peer(case), "cpu"), case, make_inputs(case)) for case in cases]
    first = [quantities(*job) for job in jobs]
    for job, expected in zip(reversed(jobs), reversed(first), strict=True):
        for name, tensor in quantities(*job).items():
            assert torch.equal(tensor, expected[name]), f"{job[1]}: {name}"


@pytest.mark.parametrize("case", [HARD, PROJECTED], ids=str)
def test_arguments_are_only_read(isa, case, dtype):
    case = replace(case, dtype=dtype)
    ours, inputs = make_ours(make_peer(case), "cpu"), make_inputs(case)
    before = {name: tensor.clone() for name, tensor in inputs.items()}
    weights = {name: parameter.detach().clone() for name, parameter in ours.named_parameters()}
    quantities(ours, case, inputs)
    for name, tensor in before.items():
        assert torch.equal(inputs[name], tensor), name
    for name, parameter in ours.named_parameters():
        assert torch.equal(parameter, weights[name]), name


def misaligned(tensor):
    """The same values at an address that only an element is aligned to, NaN on either side."""
    storage = tensor.new_full((tensor.numel() + 65,), float("nan"))
    return storage[1 : tensor.numel() + 1].view(tensor.shape).copy_(tensor)


@pytest.mark.parametrize("case", [*CASES, Case(1, 3, 5, 35)], ids=str)
def test_unaligned_memory(isa, case, dtype):
    case = replace(case, dtype=dtype)
    ours, inputs = make_ours(make_peer(case), "cpu"), make_inputs(case)
    expected = quantities(ours, case, inputs)
    for parameter in ours.parameters():
        parameter.data = misaligned(parameter.data)
    moved = {name: misaligned(tensor) for name, tensor in inputs.items()}
    for tensor in (*moved.values(), *ours.parameters()):
        assert tensor.data_ptr() % (2 * tensor.itemsize) == tensor.itemsize
    for name, tensor in quantities(ours, case, moved).items():
        assert torch.equal(tensor, expected[name]), name


def test_no_access_beyond_a_tensor():
    """Every tensor lies against pages that must not be touched, even to read what is not used."""
    done = run_python(Path(__file__).with_name("guarded.py").read_text())
    assert done.stdout.startswith("untouched"), f"{done.returncode} {done.stderr[-2000:]}"
    assert int(done.stdout.split()[1]) > 1000


RESIDENT = """
import torch
from fastlstm.verify import Case, make_inputs, make_ours, make_peer, quantities

torch.set_num_threads(1)
kinds = {}, {"bidirectional": True}, {"dtype": "bfloat16"}, {"proj": 9, "ragged": True}
cases = [Case(T, B, 33, H, **kind) for T, B in ((1, 1), (9, 3), (4, 40)) for H in (20, 96)
         for kind in kinds]
jobs = [(make_ours(make_peer(case), "cpu"), case, make_inputs(case)) for case in cases]

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

def rounds(n):
    for _ in range(n):
        for job in jobs:
            quantities(*job)

rounds(5)
before = resident()
rounds(84)  # of 24 shapes: 2016 calls
print(resident() - before)
"""


def test_resident_memory_stays_flat():
    done = run_python(RESIDENT)
    assert int(done.stdout) < 8 << 20, done.stderr
