"""Training in several processes under torchrun, beside one process on the same batch."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import SENTENCE, SMALL, logged
from safetensors import safe_open
from safetensors.torch import load_file

from fastlstm.cli import main
from fastlstm.rnnlm.dataset import Streams

CHARS = [*SMALL, "--level", "char", "--steps", "40", "--eval-every", "20"]
CASES = {
    "plain": "",
    "accumulated": "--accumulate 2 --optimizer sgd --lr 1 --loss sum --clip-by value --clip 0.1",
    # so few tokens that some windows have none of a tail
    "adaptive": "--level word --softmax adaptive --batch 2 --window 2 --clip 0.3",
    "awd": "--windows awd --tied --embedding 8 --activation-penalty 2 --slowness-penalty 1 "
    "--average always --weight-decay 1e-4 --optimizer adamw --lr-decay stall",
    "gru": "--cell gru --optimizer rmsprop",
    "resets": "--reset-at \\n",
}
NOISE = "--dropout 0.3 --dropout-output 0.2 --zoneout 0.1 --weight-drop 0.2 --batch 6"
FOLDS = ["--folds", "2", "--steps", "10"]


def start(count, *arguments):
    """torchrun, on its way."""
    launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", count]
    words = [sys.executable, "-m", *map(str, [*launch, *arguments])]
    env = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(words, env=env, stdout=pipe, stderr=pipe, text=True)


def finish(child):
    """Its exit code and what it said; where it hangs it is ended, and with it its processes."""
    try:
        out, err = child.communicate(timeout=90)
    except subprocess.TimeoutExpired:
        child.terminate()
        out, err = child.communicate()
    return child.returncode, out, err


def run_script(count, commands):
    """The commands in `count` processes; what they print."""
    script = Path(__file__).with_name("torchrun_script.py")
    words = [[str(word) for word in command] for command in commands]
    code, out, err = finish(start(count, script, json.dumps(words)))
    assert code == 0, err[:3000]
    return out


def step_of(run):
    with safe_open(run / "last.safetensors", framework="pt") as file:
        return int(file.metadata()["step"])


def assert_close(run, other):
    """Weights, states and losses of two runs, but for rounding."""
    got, expected = (load_file(path / "last.safetensors") for path in (run, other))
    for name in expected:
        if not name.startswith("rng."):
            torch.testing.assert_close(got[name], expected[name], rtol=1e-3, atol=1e-4)
    for kind in ("train", "valid"):
        losses = [[line["loss"] for line in logged(path, kind)] for path in (run, other)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4), kind


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("together")
    (made / "fox.txt").write_text(SENTENCE * 60, encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def two(folder):
    """What two processes print, whose runs are in `folder`."""
    train = ["train", folder / "fox.txt", *CHARS]
    half = [*train, "--stop-after", 20, "--out"]
    assert main([*map(str, half), str(folder / "1 to 2")]) == 0
    return run_script(
        2,
        [
            *([*train, *how.split(), "--out", folder / name] for name, how in CASES.items()),
            ["resume", folder / "1 to 2"],
            [*half, folder / "2 to 1"],
            ["spoil", *train, "--out", folder / "spoilt"],
            ["interrupt", *train, "--out", folder / "interrupted"],
            [*train, *FOLDS],
        ],
    )


@pytest.mark.parametrize("name", CASES)
def test_two_processes_train_as_one(command, folder, tmp_path, two, name):
    one = tmp_path / "one"
    assert command("train", folder / "fox.txt", *CHARS, *CASES[name].split(), "--out", one)[0] == 0
    assert_close(folder / name, one)


def test_resume_in_more_or_fewer_processes(command, folder, tmp_path, two):
    shutil.copytree(folder / "2 to 1", tmp_path / "2 to 1")
    assert command("resume", tmp_path / "2 to 1")[0] == 0
    assert command("train", folder / "fox.txt", *CHARS, "--out", tmp_path / "one")[0] == 0
    assert_close(tmp_path / "2 to 1", tmp_path / "one")
    assert_close(folder / "1 to 2", tmp_path / "one")


def test_nan_in_one_process_skips_the_window_in_all(folder, two):
    assert two.count("skipped: loss nan") == 1
    (skip,) = logged(folder / "spoilt", "skip")
    assert skip["step"] == 8
    assert skip["text"] in "\n" + SENTENCE * 2
    assert step_of(folder / "spoilt") == 40
    assert all(
        part.isfinite().all() for part in load_file(folder / "spoilt/last.safetensors").values()
    )


def test_signal_to_one_process_stops_all_at_the_same_step(folder, two):
    assert two.count("stopped at step 8/40, saved") == 1
    assert step_of(folder / "interrupted") == 8


def test_folds_of_two_processes_are_those_of_one(command, folder, two):
    _, out, _ = command("train", folder / "fox.txt", *CHARS, *FOLDS)
    folds = [re.findall(r"fold \d/2 .* ([\d.]+) nats", text) for text in (two, out)]
    assert len(folds[1]) == 2
    assert [*map(float, folds[0])] == pytest.approx([*map(float, folds[1])], abs=2e-4)


def test_resume_in_as_many_processes_is_bit_equal(command, folder):
    """Three, whose sums hang on their order; with dropout, of which each draws its own."""
    whole, halves = folder / "whole", folder / "halves"
    train = ["train", folder / "fox.txt", *CHARS, *NOISE.split(), "--out"]
    run_script(3, [[*train, whole], [*train, halves, "--stop-after", 20], ["resume", halves]])
    for name in ("best.safetensors", "last.safetensors"):
        expected, got = load_file(whole / name), load_file(halves / name)
        assert expected.keys() == got.keys()
        for key in expected:
            assert torch.equal(expected[key], got[key]), (name, key)
    assert not torch.equal(expected["rng.cpu"], expected["rng.cpu.1"])
    assert not torch.equal(expected["rng.cpu.1"], expected["rng.cpu.2"])
    assert logged(whole, "valid") == logged(halves, "valid")
    assert command("resume", halves, "--steps", 50)[0] == 0  # in one


def test_error_of_all_processes_is_said_once(folder):
    options = [*CHARS, "--batch", 5, "--out", folder / "uneven"]
    code, out, err = finish(start(2, "-m", "fastlstm", "train", folder / "fox.txt", *options))
    assert code != 0
    assert out == ""
    line = "--batch must be a multiple of 2, the number of processes, got 5"
    assert err.count(line) == err.count("fastlstm: error") == 1
    assert not (folder / "uneven").exists()


def test_run_that_torchrun_is_told_to_end_is_saved(command, folder):
    run = folder / "ended"
    options = [*CHARS, "--steps", 10**6, "--eval-every", 1000, "--out", run]
    child = start(2, "-m", "fastlstm", "train", folder / "fox.txt", *options)
    deadline = time.monotonic() + 60
    while not (run / "log.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGTERM)
    _, out, _ = finish(child)
    step = step_of(run)
    assert out.count(f"stopped at step {step}/1000000, saved") == 1
    assert step == logged(run, "train")[-1]["step"] > 0
    assert command("resume", run, "--stop-after", step + 10)[0] == 0


def test_blocks_of_streams_are_those_of_the_whole():
    tokens = torch.arange(1, 103)
    whole = Streams(tokens, 0, 6, 5)
    blocks = [Streams(tokens, 0, 6, 5, share=(rank, 3)) for rank in range(3)]
    for index in range(len(whole)):
        inputs, targets = zip(*(block[index] for block in blocks), strict=True)
        assert torch.equal(torch.cat(inputs, 1), whole[index][0])
        columns = [part.view(5, 2) for part in targets]
        assert torch.equal(torch.cat(columns, 1), whole[index][1].view(5, 6))
