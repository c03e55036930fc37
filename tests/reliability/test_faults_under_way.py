"""What may befall a run under way: the disk, the folder, the clock, the text, the cache."""

import contextlib
import io
import os
import random
import shutil
import subprocess
import sys
import time

import pytest
from shell import run_command
from trainer_commands import SMALL, assert_same_run, make_text, one_line, step_of

from fastlstm.cli import main
from fastlstm.rnnlm import durable, training
from fastlstm.rnnlm.report import Report

AT = 34  # the step at which it happens: the last checkpoint is that of step 30


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing befell, beside its text."""
    folder = tmp_path_factory.mktemp("whole")
    options = [*SMALL, "--cache", folder / "cache", "--out", folder / "run"]
    with contextlib.redirect_stdout(io.StringIO()):
        assert main([str(word) for word in ("train", make_text(folder), *options)]) == 0
    return folder / "run"


@pytest.fixture
def train(tmp_path, capsys):
    """Trains the same run elsewhere."""

    def run(out, text=None):
        options = [*SMALL, "--cache", tmp_path / "cache", "--out", out]
        return run_command(capsys, "train", text or make_text(tmp_path), *options)

    return run


@pytest.fixture
def at_step(monkeypatch):
    """Has something happen before the gradients of step `AT` are computed, once."""

    def plan(happen):
        compute, steps = training.compute_gradients, iter(range(1, 10**9))

        def compute_and_happen(*arguments):
            if next(steps) == AT:
                happen()
            return compute(*arguments)

        monkeypatch.setattr(training, "compute_gradients", compute_and_happen)

    return plan


@pytest.fixture
def disk(tmp_path):
    """A file system of 1 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder):
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


def test_full_disk_loses_nothing(disk, train, at_step, whole, capsys):
    at_step(lambda: fill(disk))
    code, _, err = train(disk / "run")
    assert code == 2
    assert "No space left on device" in one_line(err)
    assert f"{disk / 'run'} keeps the checkpoint of step 30" in err
    assert step_of(disk / "run") == step_of(disk / "run", "best") == 30
    (disk / "filler").unlink()
    assert run_command(capsys, "resume", disk / "run")[0] == 0
    assert_same_run(disk / "run", whole)


def test_disk_that_is_full_from_the_start(disk, train):
    fill(disk)
    code, _, err = train(disk / "run")
    assert code == 2
    assert "No space left on device" in one_line(err)
    assert [path.name for path in disk.iterdir()] == ["filler"]


def remount(disk, how):
    subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True)


def test_folder_that_becomes_read_only(disk, train, at_step, whole, capsys):
    at_step(lambda: remount(disk, "ro"))
    code, _, err = train(disk / "run")
    assert code == 2
    assert "Read-only file system" in one_line(err)
    assert "keeps the checkpoint of step 30" in err
    assert "Read-only" in one_line(run_command(capsys, "resume", disk / "run")[2])
    remount(disk, "rw")
    assert run_command(capsys, "resume", disk / "run")[0] == 0
    assert_same_run(disk / "run", whole)


def test_folder_without_the_right_to_write(tmp_path):
    """As root has it without its special rights; as anybody else has it."""
    text, folder = make_text(tmp_path), tmp_path / "folder"
    folder.mkdir(mode=0o555)
    words = [sys.executable, "-m", "fastlstm", "train", text, *SMALL, "--out", folder / "run"]
    if os.getuid() == 0:
        rights = "-dac_override,-dac_read_search"
        words = ["setpriv", "--bounding-set", rights, "--inh-caps", rights, *words]
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert f"{folder} is not writable" in one_line(done.stderr)


def test_clock_that_jumps_changes_nothing(tmp_path, train, monkeypatch, whole):
    chance = random.Random(0)
    monkeypatch.setattr(time, "time", lambda: chance.uniform(-1e9, 4e9))
    monkeypatch.setattr(time, "time_ns", lambda: chance.randrange(-(10**18), 4 * 10**18))
    assert train(tmp_path / "run")[0] == 0
    assert_same_run(tmp_path / "run", whole)


def shorten(path):
    path.write_bytes(path.read_bytes()[:100])


CHANGES = {
    "removed": lambda path: path.unlink(),
    "written anew": lambda path: path.write_text("other words\n" * 999),
    "shortened": shorten,
}


@pytest.mark.parametrize("change", CHANGES)
def test_text_that_changes_under_way(tmp_path, train, at_step, whole, capsys, change):
    text = make_text(tmp_path)
    at_step(lambda: CHANGES[change](text))
    assert train(tmp_path / "run", text)[0] == 0  # the tokens are a copy
    assert_same_run(tmp_path / "run", whole)
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    code, _, err = run_command(capsys, "resume", tmp_path / "run", "--steps", 70)
    assert code == 2
    assert "has changed since" in one_line(err) or "No such file" in err
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
    make_text(tmp_path)
    assert run_command(capsys, "resume", tmp_path / "run", "--steps", 70)[0] == 0
    assert step_of(tmp_path / "run") == 70


def test_cache_that_is_removed_under_way(tmp_path, train, at_step, whole):
    at_step(lambda: shutil.rmtree(tmp_path / "cache"))
    assert train(tmp_path / "run")[0] == 0
    assert_same_run(tmp_path / "run", whole)


@pytest.mark.parametrize("at", [5000, -1], ids=["in-the-middle", "last-byte"])
def test_flipped_bit_in_the_cache_is_noticed(tmp_path, train, whole, at):
    assert train(tmp_path / "first")[0] == 0
    (tokens,) = (tmp_path / "cache" / "tokens").iterdir()
    sound = tokens.read_bytes()
    data = bytearray(sound)
    data[at] ^= 64
    tokens.write_bytes(data)
    assert train(tmp_path / "run")[0] == 0
    assert tokens.read_bytes() == sound
    assert_same_run(tmp_path / "run", whole)


def test_report_that_cannot_be_written_under_way(tmp_path, train, monkeypatch, whole, capsys):
    def fail(report, log):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Report, "training", fail)
    code, _, err = train(tmp_path / "run")
    assert code == 2
    line = f"No space left on device; {tmp_path / 'run'} keeps the checkpoint of step 10"
    assert line in one_line(err)
    monkeypatch.undo()
    assert run_command(capsys, "resume", tmp_path / "run")[0] == 0
    assert_same_run(tmp_path / "run", whole)


def test_full_disk_of_standard_output_is_one_line(tmp_path):
    options = [*SMALL, "--steps", "100000", "--out", tmp_path / "run"]
    words = [sys.executable, "-m", "fastlstm", "train", make_text(tmp_path), *options]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*map(str, words)], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert "No space left on device" in one_line(done.stderr)


def test_two_processes_do_not_train_one_run(tmp_path, train, capsys):
    assert train(tmp_path / "run")[0] == 0
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with durable.only_process(tmp_path / "run"):
        code, _, err = run_command(capsys, "resume", tmp_path / "run", "--steps", 70)
    assert code == 2
    assert "another process is training" in one_line(err)
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
    assert run_command(capsys, "resume", tmp_path / "run", "--steps", 70)[0] == 0


def test_link_in_the_way_of_a_write_is_not_followed(tmp_path):
    """Who sends a run folder cannot have its links written through."""
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / "run").mkdir()
    for name in ("last.safetensors", f".last.safetensors.{os.getpid()}"):
        (tmp_path / "run" / name).symlink_to(precious)
    durable.write_atomically(tmp_path / "run" / "last.safetensors", b"checkpoint")
    assert precious.read_text() == "mine"
    assert (tmp_path / "run" / "last.safetensors").read_bytes() == b"checkpoint"
