"""What the comparison with float64 catches: each fault, seeded in a kernel's source, is seen."""

from dataclasses import replace

import pytest
import standin
from accuracy import assert_case

from fastlstm.backends.triton.plan import Limit
from fastlstm.verify import Case

GROUP, SPLIT = Limit(8, 1, 256), Limit(8, 1, 128, 4, 32)
FORWARD, BACKWARD = "group_forward_kernel", "group_backward_kernel"
SPLIT_BACKWARD, PROGRAM = "split_backward_kernel", "program_forward_kernel"
CASE = Case(6, 5, 4, 32, ragged=True, bidirectional=True)
FAULTS = {
    "h of the step before": (FORWARD, "        before = start\n", "        before = before\n"),
    "the neighbour's slice": (
        FORWARD,
        "    unit = part * UNITS\n",
        "    unit = part * UNITS + 1\n",
    ),
    "h_0 for none": (FORWARD, "gl.where(b < known, from_y", "gl.where(b < B, from_y"),
    "h_0 for all": (FORWARD, "gl.where(b < known, from_y", "gl.where(b < 0, from_y"),
    "c of finished sequences": (
        FORWARD,
        "c = gl.where(b_unit + tile * M < size, c, cs[tile])",
        "c = c",
    ),
    "h of finished sequences": (
        FORWARD,
        "h_t = gl.where(b_unit + tile * M < size, h_t, hs[tile])",
        "h_t = h_t",
    ),
    "x of the same step again": (FORWARD, "        xs = xs_next\n", "        xs = xs\n"),
    "the other direction's order": (FORWARD, "    step = 1 - 2 * d\n", "    step = 1\n"),
    "dgates of the step itself": (
        BACKWARD,
        "        after = start\n",
        "        after = start_next\n",
    ),
    "dh_n at every step": (BACKWARD, "ends = (b >= known)", "ends = (b >= 0)"),
    "dh_n never": (BACKWARD, "ends = (b >= known)", "ends = (b >= B)"),
    "dc of sequences not yet there": (
        BACKWARD,
        "dc = gl.where(b < size, dc, dcs[tile])",
        "dc = dc",
    ),
    "the neighbour's columns": (
        BACKWARD,
        "    column = unit + indices(",
        "    column = unit + 1 + indices(",
    ),
    "sums of another part": (
        SPLIT_BACKWARD,
        "told_sums = ((part // NPARTS) * M",
        "told_sums = ((part % KPARTS) * M",
    ),
    "sums for another owner": (
        SPLIT_BACKWARD,
        "    n_first = (part % NPARTS) * COLUMNS\n",
        "    n_first = (part // KPARTS) * UNITS\n",
    ),
    "h not shared between warps": (PROGRAM, "        shared_h.store(", "        (lambda h: None)("),
}


def run(launches, kernel):
    if kernel != PROGRAM:
        launches.kind(GROUP, SPLIT if kernel == SPLIT_BACKWARD else GROUP)
    case = replace(CASE, H=64, bidirectional=False) if kernel == SPLIT_BACKWARD else CASE
    assert_case(case, "triton", 5.0)


@pytest.mark.parametrize("kernel", [FORWARD, BACKWARD, SPLIT_BACKWARD, PROGRAM])
def test_without_a_fault_all_is_right(launches, kernel):
    run(launches, kernel)
    assert kernel in {name for name, _, _ in launches}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_line_is_seen(launches, fault, monkeypatch):
    kernel, right, wrong = FAULTS[fault]
    monkeypatch.setattr(standin, "PATIENCE", 5)
    launches.faults = {kernel: {kernel: [(right, wrong)]}}
    with pytest.raises((AssertionError, IndexError, TimeoutError)):
        run(launches, kernel)


@pytest.mark.parametrize("kernel", [FORWARD, BACKWARD, SPLIT_BACKWARD])
def test_a_dropped_wait_is_seen(launches, kernel, monkeypatch):
    """A program that takes what is there, arrived or not."""
    name = "receive_sums" if kernel == SPLIT_BACKWARD else "receive"

    def at_once(*args):
        pointers = args[0] if kernel == SPLIT_BACKWARD else args[1]
        memory = standin._running.launch.memory
        return standin.Value(memory.read(pointers.address, pointers.torch))

    wait = standin.REPLACED[name]

    def chosen(*args):
        return (at_once if standin._running.launch.name == kernel else wait)(*args)

    monkeypatch.setattr(standin, "PATIENCE", 5)
    monkeypatch.setitem(standin.REPLACED, name, chosen)
    with pytest.raises((AssertionError, TimeoutError)):
        run(launches, kernel)


def test_a_lap_that_is_not_marked_is_seen(launches, monkeypatch):
    """Sums of the lap before would be taken for this one's, or never arrive."""
    monkeypatch.setattr(standin, "PATIENCE", 5)
    launches.kind(GROUP, SPLIT)
    launches.faults = {SPLIT_BACKWARD: {"lap_of": [("1 - (s // SLOTS) % 2", "1")]}}
    with pytest.raises((AssertionError, TimeoutError)):
        assert_case(Case(12, 5, 4, 32), "triton", 5.0)
