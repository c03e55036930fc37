"""What stands in a row: FLOPs, floors, spreads, bytes, conditions; and files of rows."""

import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from fastlstm.bench.case import FORWARD, INFERENCE, TRAINING, Case
from fastlstm.bench.conditions import conditions, describe, slug
from fastlstm.bench.grid import FULL, QUICK, choose_cases, parse_shape
from fastlstm.bench.limits import Limits, measure_limits
from fastlstm.bench.memory import peak_bytes, saved_bytes
from fastlstm.bench.row import Row, last_run, read_rows, write_rows
from fastlstm.bench.timing import Effort, interleave, spread
from fastlstm.verify_cases import DTYPES

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


def test_the_floor_is_the_longest_of_what_cannot_be_avoided():
    mib = (512, 512)
    gemv = {mib: 1e9, (8192, 8192): 1e6}
    limits = Limits({"float32": 1e10}, gemv, call=0.5, gemm_size={}, streamed=1 << 20)
    small, large = Case(8, 8, 1, 1, 10), Case(512, 512, 1, 1, 10)
    assert limits.floor(small, INFERENCE) == pytest.approx(0.5 + small.flops(INFERENCE) / 1e10)
    # 4 MiB of recurrent weights at each step, from where 1 MiB lies: slower memory does not count
    reading = 10 * large.recurrent_bytes() / 1e9
    assert large.recurrent_bytes() == 4 << 20
    assert limits.floor(large, INFERENCE) == pytest.approx(0.5 + reading)
    assert limits.floor(large, TRAINING) == pytest.approx(0.5 + 2 * reading)
    on_chip = Limits({"float32": 1e10}, gemv, call=0.5, gemm_size={}, streamed=64 << 20)
    products = large.flops(INFERENCE) / 1e10
    assert on_chip.floor(large, INFERENCE) == pytest.approx(0.5 + products)
    assert limits.share(small, INFERENCE, 1.0) == small.flops(INFERENCE) / 1e10


def test_measured_limits_are_plausible():
    limits = measure_limits("cpu", ["float32"])
    assert 1e9 < limits.gemm["float32"] < 1e14
    assert all(1e8 < speed < 1e13 for speed in limits.gemv.values())
    assert 1e-8 < limits.call < 1e-3


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


@pytest.mark.parametrize(
    "text", ["1,2,3,4", "1,2,3,4,5,6", "1,2,3,4,0", "1,2,3,4,x", "-1,2,3,4,5", ""]
)
def test_a_malformed_shape_is_an_error(text):
    with pytest.raises(ValueError, match="--shapes takes I,H,L,B,T"):
        parse_shape(text)


def test_grids():
    assert parse_shape("1,2,3,4,5") == Case(1, 2, 3, 4, 5)
    assert list(choose_cases(True, ["1,2,3,4,5"], ["float64"])) == [
        Case(1, 2, 3, 4, 5, dtype="float64")
    ]
    for grid in (QUICK, FULL):
        assert len(set(grid)) == len(grid)
        assert {case.directions for case in grid} == {1, 2}
        assert {case.ragged for case in grid} == {False, True}
        assert any(case.decodes for case in grid)
        assert len(list(choose_cases(grid is QUICK, [], list(DTYPES)))) == 4 * len(grid)


def test_importing_the_command_needs_no_extra():
    code = "import sys, fastlstm.bench.command; print({'rich', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
