"""Processes that are killed: at random moments, at each moment of a write, one of several."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from shell import run_command
from trainer_commands import SMALL, make_text, step_of

from fastlstm.rnnlm import durable
from fastlstm.rnnlm.durable import write_atomically

KILLS = os.environ.get("FASTLSTM_KILLS", "8")


def test_run_killed_again_and_again_is_the_run_that_nobody_killed():
    script = Path(__file__).with_name("killed_runs.py")
    words = [sys.executable, script, "--kills", KILLS, "--seed", "1"]
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout)
    assert result["kills"] == int(KILLS)
    assert result["moments"].keys() & {"between writes", "while a file was written"}


def die_at(monkeypatch, moment):
    """Ends this process before or after a call of what a write is made of, as SIGKILL would."""
    calls = iter(range(10**9))

    def dying(function):
        def call(*arguments, **options):
            if next(calls) == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(*arguments, **options)
            if next(calls) == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    for owner, name in ((os, "fsync"), (os, "replace"), (Path, "open"), (Path, "unlink")):
        monkeypatch.setattr(owner, name, dying(getattr(owner, name)))


@pytest.mark.parametrize("moment", range(11))
def test_killed_within_a_write_leaves_the_old_file_or_the_new_one(tmp_path, monkeypatch, moment):
    path = tmp_path / "last.safetensors"
    path.write_bytes(b"old")
    pid = os.fork()
    if pid == 0:
        die_at(monkeypatch, moment)
        write_atomically(path, b"the new one")
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == (-signal.SIGKILL if moment < 10 else 0)  # before and after 5 calls
    assert path.read_bytes() == (b"old" if moment < 7 else b"the new one")
    durable.remove_left_overs(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["last.safetensors"]


def children_of(pid):
    """The processes that a process has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return sorted(found)


def test_rank_that_is_killed_under_torchrun(tmp_path, capsys):
    """The first, which alone writes."""
    run = tmp_path / "run"
    options = [*SMALL, "--steps", 10**6, "--cache", tmp_path / "cache", "--out", run]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2]
    words = [sys.executable, *launch, "-m", "fastlstm", "train", make_text(tmp_path), *options]
    env = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    child = subprocess.Popen([*map(str, words)], env=env, stdout=pipe, stderr=pipe, text=True)
    deadline = time.monotonic() + 90
    while not (run / "best.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(children_of(child.pid)[0], signal.SIGKILL)
    try:
        _, err = child.communicate(timeout=60)  # nobody waits for the dead forever
    finally:
        child.kill()
    assert child.returncode != 0
    said = [line for line in err.splitlines() if "fastlstm: error" in line]
    assert len(said) <= 1, err
    step = step_of(run)
    assert step >= step_of(run, "best") > 0
    code, out, err = run_command(capsys, "resume", run, "--stop-after", step + 10)
    assert code == 0, err
    assert f"resuming {run} at step {step}/" in out
