"""The same command writes the same log, byte for byte, whatever the number of threads."""

import os
import subprocess
import sys

import pytest
from trainer_commands import make_text

# as large as training is: smaller products and sums are not shared among threads at all
OPTIONS = ["--steps", "10", "--dropout", "0.2", "--eval-every", "10", "--out"]


def train(text, run, threads, **env):
    """Train in a process of its own, as MKL reads how to sum before its first product."""
    words = [sys.executable, "-m", "fastlstm", "train", text, *OPTIONS, run]
    words += ["--threads", threads, "--cache", text.parent / "cache"]
    clean = {name: value for name, value in os.environ.items() if name != "MKL_CBWR"}
    done = subprocess.run(
        [*map(str, words)], env=clean | env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return (run / "log.jsonl").read_bytes()


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return make_text(tmp_path_factory.mktemp("text"), 300)


def test_log_is_the_same_in_any_number_of_threads(text, tmp_path):
    logs = [train(text, tmp_path / str(threads), threads) for threads in (1, 3)]
    assert logs[0] == logs[1]
    assert logs[0].count(b"\n") == 2
    assert b"second" not in logs[0]  # no clock has a part in it
    assert (tmp_path / "1" / "speed.jsonl").read_bytes().count(b"tokens_per_second") == 1
