"""benchmarks/on_gpu.sh: the run for a machine with a GPU, here as a dry run on the CPU."""

import os
import re
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from made_up_rows import make_row, make_rows

from fastlstm.bench.case import Case
from fastlstm.bench.row import last_run, read_rows, write_rows

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
STAGES = [
    *("facts", "build", "correctness", "exchange", "compile", "sanitize", "races", "grid", "table"),
]


@pytest.fixture
def on_gpu(tmp_path):
    """Runs the script with its results in tmp_path / "out"."""

    def run(*arguments, python=sys.executable, **environment):
        environment = (
            os.environ | {"OUT": str(tmp_path / "out"), "PYTHON": str(python)} | environment
        )
        command = [str(BENCHMARKS / "on_gpu.sh"), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, env=os.environ | environment, timeout=400
        )

    return run


@pytest.fixture
def make_python(tmp_path):
    """A python that does something else where a word is among its arguments."""

    def make(word, instead):
        path = tmp_path / "python"
        path.write_text(
            f'#!/bin/bash\nif [[ "$*" == *{word}* ]]; then {instead}; fi\n'
            f'exec "{sys.executable}" "$@"\n'
        )
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return make


def outcomes(done):
    """Stage to outcome, as the last lines say them."""
    lines = done.stdout.rpartition("\n\n")[2].splitlines()
    found = (re.match(r"(\w+) +(ok|failed|skipped) +\d+ s", line) for line in lines)
    return {match[1]: match[2] for match in found if match}


def test_a_dry_run_goes_through_every_stage(on_gpu, tmp_path):
    patient = {f"ON_GPU_LIMIT_{stage}": "200" for stage in STAGES}
    done = on_gpu("--dry-run", **patient)
    assert done.returncode == 0, done.stdout + done.stderr
    assert outcomes(done) == dict.fromkeys(STAGES, "ok") | dict.fromkeys(
        ("build", "exchange", "compile"), "skipped"
    )
    out = tmp_path / "out"
    (csv,) = out.glob("*.csv")
    rows = last_run(read_rows(csv))
    assert {row.shape for row in rows if row.metric == "time"} == {(8, 8, 1, 2, 3)}
    assert list(out.glob("*.png"))
    assert len(list(out.iterdir())) <= 8
    log = (out / "on_gpu.log").read_text()
    assert re.findall(r"^=== (\w+)", log, re.MULTILINE) == STAGES
    for said in ("0 missed", "without compute-sanitizer", "races: none", "needs CUDA, skipped"):
        assert said in log
    table = re.search(r"^I8 H8 L1 B2 T3 +forward\+backward .*x +\d+%$", done.stdout, re.MULTILINE)
    assert table


def test_one_stage_runs_alone(on_gpu):
    done = on_gpu("--dry-run", "facts")
    assert done.returncode == 0, done.stdout + done.stderr
    assert outcomes(done) == {"facts": "ok"}
    assert f"torch {torch.__version__}" in done.stdout


def test_a_wrong_result_stops_the_rest(on_gpu, make_python, tmp_path):
    python = make_python("verify", "echo 3 missed; exit 1")
    done = on_gpu("--dry-run", "races", "correctness", python=python)
    assert done.returncode == 1
    assert outcomes(done) == {"correctness": "failed"}
    last = done.stdout.splitlines()[-1]
    assert last == f"on_gpu: stopped at correctness: 3 missed; log: {tmp_path}/out/on_gpu.log"
    assert "3 missed" in (tmp_path / "out" / "on_gpu.log").read_text()


def test_after_another_failure_it_goes_on(on_gpu, make_python):
    python = make_python("races.py", "echo races: a difference; exit 1")
    done = on_gpu("--dry-run", "races", "table", python=python)
    assert done.returncode == 1
    assert outcomes(done) == {"races": "failed", "table": "failed"}  # no rows yet
    assert "races: a difference" in done.stdout
    assert "no benchmark rows" in done.stdout


def test_a_stage_that_takes_too_long_is_ended_and_said(on_gpu, make_python):
    python = make_python("races.py", "sleep 60")
    started = time.monotonic()
    done = on_gpu("--dry-run", "races", python=python, ON_GPU_LIMIT_races="1")
    assert time.monotonic() - started < 30
    assert done.returncode == 1
    assert re.search(r"^races +failed +\d s  it took longer than 1 s$", done.stdout, re.MULTILINE)


def test_an_unknown_stage_is_refused_with_the_list(on_gpu, tmp_path):
    done = on_gpu("--dry-run", "verify")
    assert done.returncode == 2
    assert done.stderr == f"on_gpu: no stage is called 'verify'; stages: {' '.join(STAGES)}\n"
    assert not (tmp_path / "out").exists()


def test_the_stages_fit_in_ten_minutes(on_gpu):
    limit = re.compile(r"^(\w+), at most (\d+) s$", re.MULTILINE)
    limits = dict(limit.findall(on_gpu("--list").stdout))
    assert list(limits) == STAGES
    assert sum(map(int, limits.values())) <= 580
    longer = dict(limit.findall(on_gpu("--list", ON_GPU_LIMIT_grid="999").stdout))
    assert longer == limits | {"grid": "999"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_stops_at_the_facts(on_gpu):
    done = on_gpu("facts")
    assert done.returncode == 1
    assert "stopped at facts: RuntimeError: torch sees no CUDA device here" in done.stdout


@pytest.mark.parametrize(("found", "code"), [([], 77), (["made up"], 0)])
def test_without_kernels_on_the_gpu_nothing_is_sanitized(monkeypatch, capsys, found, code):
    monkeypatch.syspath_prepend(str(BENCHMARKS / "gpu"))
    import sanitize

    monkeypatch.setattr(sanitize, "kernel_backends", lambda device, dtype: found)
    monkeypatch.setattr(sys, "argv", ["sanitize.py", "--device", "cuda", "--list"])
    assert sanitize.main() == code
    nothing = "no GPU kernels of fastlstm yet: nothing to sanitize" in capsys.readouterr().out
    assert nothing == (not found)


def test_the_table_is_short(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS / "gpu"))
    import summary

    dtypes = ("float32", "bfloat16")
    rows = make_rows(Case(64, 64, 1, B, 32, dtype=d) for B in range(1, 31) for d in dtypes)
    lines = summary.table([row for row in rows if row.metric == "time"])
    assert len(lines) == 40
    assert lines[-1] == "... and 24 more, in the CSV"
    assert all(line.count("x ") == 2 for line in lines[3:-1])


def test_the_table_is_of_the_last_run(monkeypatch, capsys, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS / "gpu"))
    import summary

    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    older, newer = Case(8, 8, 1, 1, 5), Case(16, 16, 1, 1, 1)
    for name, case, run in (("b", older, "2026-01-01"), ("a", newer, "2026-01-02")):
        ours = make_row(case, "fastlstm cpu", "decode", unit="us", p50=50.0, ratio=2.5, run=run)
        peer = make_row(case, "nn.LSTM", "decode", unit="us", p50=125.0, ratio=1.0, run=run)
        write_rows(tmp_path / f"{name}.csv", [ours, peer])
    monkeypatch.setattr(sys, "argv", ["summary.py", str(tmp_path), "cuda"])
    assert summary.main() == 1  # these are of a CPU
    monkeypatch.setattr(sys, "argv", ["summary.py", str(tmp_path), "cpu"])
    assert summary.main() == 0
    *_, line = capsys.readouterr().out.splitlines()
    assert line.split() == ["I16", "H16", "L1", "B1", "T1", "decode", "0.05", "0.125", "2.50x", "-"]
