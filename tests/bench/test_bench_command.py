"""`fastlstm bench` end to end on tiny shapes, and the pytest-benchmark suites."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fastlstm.bench import command, providers, training
from fastlstm.bench.layer import Bench
from fastlstm.bench.limits import Limits
from fastlstm.bench.row import read_rows
from fastlstm.bench.timing import Effort
from fastlstm.cli import main

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    """Hardly any time for each figure: what they are is not tested, that they are is."""
    monkeypatch.setattr(command, "QUICK", Effort(2, 0.0, 0.0, slow_rounds=1))
    monkeypatch.setattr(command, "FULL", Effort(2, 0.0, 0.0, slow_rounds=1))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def run(*options, capsys=None):
    code = main(["bench", *map(str, options)])
    return code, capsys.readouterr() if capsys else None


def test_a_run_prints_writes_and_draws(tmp_path, capsys):
    shapes = ["--shapes", "5,5,1,2,4", "4,4,2,1,1"]
    code, out = run("--output", tmp_path, "--threads", 1, *shapes, capsys=capsys)
    assert code == 0, out.err
    (path,) = tmp_path.glob("*.csv")
    rows = read_rows(path)
    ours = {row.provider for row in rows if row.provider != "machine"}
    assert {"nn.LSTM", "fastlstm aten", "fastlstm reference", "LSTMCell loop"} <= ours
    by_measure = {row.measure: row for row in rows if row.auto}
    assert by_measure.keys() == {"inference", "forward", "forward+backward", "decode"}
    assert {row.metric for row in rows} == {"rate", "time", "peak memory", "saved for backward"}
    assert {row.run for row in rows} == {rows[0].run}
    assert {row.threads for row in rows} == {1}
    assert by_measure["decode"].unit == "us"
    for row in rows:
        assert 0 <= row.p20 <= row.p50 <= row.p80
        if row.metric == "time":
            assert row.gemm_share > 0
            assert row.floor > 0
            assert row.ratio is not None
    assert "5, 5, 1, 2, 4" in out.out
    assert "geometric mean" in out.out
    assert "haste: not measured" in out.out
    assert len(list(tmp_path.glob("*.png"))) >= 3
    code, _ = run("--output", tmp_path, "--shapes", "5,5,1,2,4", "--against", "nn.LSTM")
    assert len({row.run for row in read_rows(path)}) <= 2  # the same second, or another run
    assert len(read_rows(path)) > len(rows)


def test_a_ratio_is_how_much_faster_than_nn_lstm(tmp_path, capsys):
    shape = ("--shapes", "5,5,1,2,4", "--against", "nn.LSTM")
    run("--output", tmp_path, *shape, "--quick", capsys=capsys)
    (path,) = tmp_path.glob("*.csv")
    times = [row for row in read_rows(path) if row.metric == "time"]
    peers = {row.measure: row for row in times if row.provider == "nn.LSTM"}
    assert all(row.ratio == 1.0 for row in peers.values())
    for row in times:  # the median of ratios is about that of both spreads
        if row.provider == "fastlstm reference":
            peer = peers[row.measure]
            assert peer.p20 / row.p80 / 2 <= row.ratio <= 2 * peer.p80 / row.p20


def test_a_refused_provider_is_said_and_gives_exit_code_1(tmp_path, capsys, monkeypatch):
    honest = providers.fastlstm_providers

    def dishonest(device, dtype):
        def make(lstm):
            with torch.no_grad():
                lstm.weight_hh_l0.mul_(2)
            return lstm

        return [replace(p, make=make) if p.backend == "cpu" else p for p in honest(device, dtype)]

    monkeypatch.setattr(providers, "fastlstm_providers", dishonest)
    options = ("--output", tmp_path, "--shapes", "5,5,1,2,4", "--quick", "--against", "nn.LSTM")
    code, out = run(*options, capsys=capsys)
    assert code == 1
    assert "REFUSED" in out.out
    (path,) = tmp_path.glob("*.csv")
    assert not any(row.auto for row in read_rows(path))


def test_without_the_extras_there_are_still_rows(tmp_path, capsys, monkeypatch):
    def missing(name):
        package = {"table": "rich", "plots": "matplotlib", "training": "numpy"}
        raise ModuleNotFoundError(name=package[name.rpartition(".")[2]])

    monkeypatch.setattr(command, "find_spec", lambda name: None)
    monkeypatch.setattr(command, "import_module", missing)
    shape = ("--shapes", "5,5,1,2,4", "--against", "nn.LSTM", "--quick")
    code, out = run("--output", tmp_path, *shape, capsys=capsys)
    assert code == 0, out.err
    (path,) = tmp_path.iterdir()
    assert any(row.auto for row in read_rows(path))
    for name in ("rich", "matplotlib", "numpy"):
        assert f"{name} is not installed" in out.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--shapes", "1,2"], "--shapes takes I,H,L,B,T"),
        (["--against", "cudnn"], "--against takes"),
        (["--threads", "0"], "--threads must be at least 1, got 0"),
        (["--device", "cuda"], "no CUDA device"),
    ],
)
def test_wrong_options_are_one_line_before_anything_is_measured(tmp_path, capsys, options, words):
    if options == ["--device", "cuda"] and torch.cuda.is_available():
        pytest.skip("the error of a machine without a GPU; this one has one")
    code, out = run("--output", tmp_path / "new", *options, capsys=capsys)
    assert code == 2
    assert words in out.err
    assert out.err.count("\n") == 1
    assert not (tmp_path / "new").exists()


def bench(said, **fields):
    where = {
        "device": "a",
        "cpu": "a",
        "load": 0.0,
        "tf32": False,
        "threads": 1,
        "cpu_isa": "",
        "clock_mhz": None,
        "torch": "",
    }
    where |= dict.fromkeys(("triton", "cudnn", "onednn", "fastlstm", "commit", "date", "run"), "")
    return Bench(
        "cpu",
        Effort(2, 0.0, 0.0),
        Limits({"float32": 1e9}, {}, 0.0, {}, 1 << 20),
        where,
        said.append,
    )


def test_the_trainer_is_measured_on_both_sides():
    said = []
    rows = training.measure_trainer(bench(said), training.Trainer(11, 8, 2, 3, 5))
    assert (rows[0].provider, rows[0].unit) == ("nn.LSTM", "tokens/s")
    assert [row.auto for row in rows] == [False, True]
    assert all(row.p50 > 0 for row in rows)
    assert said == []


def test_a_trainer_that_computes_otherwise_is_refused(monkeypatch):
    honest = training.start_sides

    def dishonest(trainer, device):
        sides = honest(trainer, device)
        with torch.no_grad():
            sides[1].model.rnn.weight_hh_l0.mul_(1.1)
        return sides

    monkeypatch.setattr(training, "start_sides", dishonest)
    said = []
    assert training.measure_trainer(bench(said), training.Trainer(11, 8, 2, 3, 5)) == []
    assert "REFUSED" in said[0]


def test_the_suites_run_under_pytest_benchmark(tmp_path):
    options = ["--benchmark-only", "--benchmark-min-rounds=1", "--benchmark-max-time=0.001"]
    options += ["--benchmark-warmup=off", "-q", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "benchmarks/", *options]
    command += ["-k", "quick and (decode or V96)", f"--benchmark-json={tmp_path / 'out.json'}"]
    # pytest-benchmark times nothing where the tests themselves run in several processes.
    alone = {name: value for name, value in os.environ.items() if "XDIST" not in name}
    done = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads((tmp_path / "out.json").read_text())["benchmarks"]
    groups = {figure["group"] for figure in figures}
    assert any(group.endswith("decode") for group in groups)
    assert any("training step" in group for group in groups)
    for group in groups:
        names = [figure["name"] for figure in figures if figure["group"] == group]
        assert any("nn.LSTM" in name for name in names)
        assert any("fastlstm" in name for name in names)
