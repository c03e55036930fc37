"""What stands in a row: FLOPs, floors, spreads, bytes, conditions; and files of rows."""

import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from fastlstm.bench.case import FORWARD, TRAINING, Case
from fastlstm.bench.conditions import conditions, describe, slug
from fastlstm.bench.memory import peak_bytes, saved_bytes
from fastlstm.bench.row import Row, last_run, read_rows, write_rows
from fastlstm.bench.timing import Effort, interleave, spread

ROW = Row(
    provider="fastlstm cpu", measure="inference", I=3, H=4, layers=1, B=2, T=5, metric="time",
    unit="ms", p20=1.0, p50=1.25, p80=2.0, rounds=7, ratio=1.5, auto=True, device="a, machine",
    cpu="b", load=0.5, tf32=False,
    threads=2, cpu_isa="avx2", clock_mhz=None, torch="2", triton="", cudnn="", onednn="3.1",
    fastlstm="0", commit="abc", date="2026-01-02", run="2026-01-02T03:04:05+00:00",
)  # fmt: skip


def test_flops_of_a_layer_are_those_of_its_products():
    products = []
    original = torch.nn.functional.linear

    def linear(x, weight, bias=None):
        products.append(2 * x.numel() // x.shape[-1] * weight.numel())
        return original(x, weight, bias)

    for case in (Case(3, 5, 1, 4, 6), Case(3, 5, 2, 4, 6, bidirectional=True)):
        products.clear()
        lstm, x = case.make_lstm("cpu"), case.make_input("cpu", False)
        for layer in range(case.layers):
            for suffix in [f"_l{layer}", f"_l{layer}_reverse"][: case.directions]:
                h = x.new_zeros(case.B, case.H)
                for step in x:
                    linear(step, getattr(lstm, f"weight_ih{suffix}"))
                    linear(h, getattr(lstm, f"weight_hh{suffix}"))
            x = x.new_zeros(case.T, case.B, case.directions * case.H)
        assert case.flops(FORWARD) == sum(products)
        assert case.flops(TRAINING) == 3 * sum(products)
        weights = [p for name, p in lstm.named_parameters() if "weight" in name]
        assert case.weight_bytes() == sum(4 * p.numel() for p in weights)


def test_ragged_work_counts_only_the_rows_that_are_there():
    case = Case(3, 5, 1, 4, 16, ragged=True)
    rows = case.make_input("cpu", False).data.shape[0]
    assert rows == sum(case.lengths()) < 4 * 16
    assert case.flops(FORWARD) == rows * Case(3, 5, 1, 1, 1).flops(FORWARD)


def test_interleave_takes_turns_and_times_each_call():
    order = []

    def call(name, pause):
        def run():
            order.append(name)
            time.sleep(pause)

        return run

    calls = [call("a", 0.002), call("b", 0.004), call("slow", 0.05)]
    times = interleave(
        calls, Effort(rounds=9, sample=0.0, budget=0.0, slow=8, slow_rounds=2), "cpu"
    )
    assert [len(t) for t in times] == [5, 5, 2]
    for seconds, least in zip(times, (0.002, 0.004, 0.05), strict=True):
        assert min(seconds) >= least
    rounds = order[9:]  # after three of each to see how long they take
    assert sorted(rounds[:3]) == ["a", "b", "slow"]
    assert sorted(rounds[-2:]) == ["a", "b"]
    assert len(rounds) == 5 + 5 + 2


def test_a_short_call_is_repeated_after_one_that_is_not_timed():
    calls = []
    (times,) = interleave([lambda: calls.append(time.sleep(0.001))], Effort(2, 0.01, 9.0), "cpu")
    repeats = (len(calls) - 3) // 2 - 1
    assert 3 <= repeats <= 10
    assert min(times) >= 0.001


def test_spread():
    assert spread([3.0]) == (3.0, 3.0, 3.0)
    assert spread([5.0, 1.0, 3.0, 2.0, 4.0, 6.0]) == (2.0, 3.5, 5.0)


def test_saved_bytes_leave_out_weights_and_input():
    linear = nn.Linear(32, 16)
    x = torch.randn(64, 32)
    assert saved_bytes(linear, lambda: linear(x), x) == 0
    assert saved_bytes(linear, lambda: linear(x).tanh().sum(), x) == 64 * 16 * 4


def test_peak_bytes_see_what_a_step_allocates_and_frees():
    def step():
        torch.ones(5_000_000).add_(torch.ones(5_000_000))

    peak = peak_bytes(step, "cpu")
    if peak is None:
        pytest.skip("/proc/self/clear_refs cannot be written here: no peak is measured")
    assert 39e6 < peak < 44e6  # the system counts pages, and not all at once
    assert peak_bytes(lambda: None, "cpu") < 1e6


def test_rows_survive_a_file(tmp_path):
    path = tmp_path / "new" / "rows.csv"
    later = replace(ROW, run="2026-01-03T00:00:00+00:00", ratio=None, auto=False)
    write_rows(path, [ROW])
    write_rows(path, [later])
    assert read_rows(path) == [ROW, later]
    assert last_run(read_rows(path)) == [later]


def test_a_row_knows_its_case():
    row = replace(ROW, directions=2, lengths="ragged", dtype="bfloat16")
    assert row.case == Case(3, 4, 1, 2, 5, True, True, "bfloat16")
    assert ROW.case == Case(3, 4, 1, 2, 5)


def test_another_file_is_not_appended_to_or_read(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"rows\.csv"):
        read_rows(path)
    with pytest.raises(ValueError, match=r"rows\.csv"):
        write_rows(path, [ROW])
    assert path.read_text() == "a,b\n1,2\n"


def test_conditions_are_fields_of_a_row_and_readable():
    where = conditions("cpu")
    row = replace(ROW, **where)
    assert row.threads == torch.get_num_threads()
    assert row.torch == torch.__version__
    text = describe(where)
    assert row.device in text
    assert row.commit in text
    assert slug("Intel(R) Xeon(R) CPU @ 2.80GHz") == "intel-xeon-cpu-2.80ghz"


def test_importing_the_command_needs_no_extra():
    code = "import sys, fastlstm.bench.command; print({'rich', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
