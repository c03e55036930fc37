"""Whatever is wrong is said in one line with exit code 2, and nothing is written over."""

import shutil
import sys

import pytest
from conftest import SMALL

from fastlstm.cli import main
from fastlstm.rnnlm import commands


def test_missing_file(fails, tmp_path):
    assert "missing.txt: No such file" in fails("train", tmp_path / "missing.txt")


def test_directory(fails, tmp_path):
    assert "is a directory" in fails("train", tmp_path)


def test_empty_file(fails, tmp_path):
    (tmp_path / "empty.txt").touch()
    assert "empty.txt is empty" in fails("train", tmp_path / "empty.txt")


@pytest.mark.parametrize("size", [1, 40, 2000])
def test_text_shorter_than_one_window(fails, tmp_path, size):
    (tmp_path / "short.txt").write_bytes(b"x" * size)
    assert "is too short" in fails("train", tmp_path / "short.txt", "--out", tmp_path / "run")


def test_validation_part_shorter_than_one_window(fails, text, tmp_path):
    options = [*SMALL, "--valid-limit", 5, "--out", tmp_path / "run"]
    assert "held back for validation" in fails("train", text, *options)


@pytest.mark.parametrize("level", ["char", "word"])
def test_invalid_utf8(fails, tmp_path, level):
    (tmp_path / "latin1.txt").write_bytes(b"abc \xe9t\xe9 " * 1000)
    err = fails("train", tmp_path / "latin1.txt", "--level", level)
    assert "not UTF-8 at byte 4 (0xe9)" in err
    assert "--level byte" in err


def test_invalid_utf8_is_fine_as_bytes(command, tmp_path):
    (tmp_path / "latin1.txt").write_bytes(b"abc \xe9t\xe9 \n" * 100)
    options = [*SMALL, "--steps", 2, "--out", tmp_path / "run"]
    assert command("train", tmp_path / "latin1.txt", *options)[0] == 0


@pytest.mark.parametrize(
    "option",
    [
        "--level syllable", "--cell qrnn", "--backend cudnn", "--optimizer lion", "--lr-decay exp",
        "--implementation keras", "--device tpu", "--hidden 0", "--hidden -3", "--hidden 2.5",
        "--layers 0", "--embedding -1", "--batch 0", "--batch -1", "--window 0", "--steps 0",
        "--steps -5", "--epochs 0", "--epochs nan", "--lr 0", "--lr nan", "--lr -1", "--lr inf",
        "--clip 0", "--clip nan", "--dropout 1", "--dropout -0.1", "--dropout-input nan",
        "--valid-fraction 0", "--valid-fraction 1", "--valid-fraction nan", "--eval-every 0",
        "--threads 0", "--seed -1", "--vocab-size 2", "--forget-bias inf", "--france-docs 0",
        "--valid-limit 0", "--stop-after 0", "--steps 5 --epochs 1", "--nonsense 1",
        "--france-distance -1", "--france-distance 1e17", "--france-distance 1000",
        "--seed 9223372036854775808", f"--seed {10**30}", "--hid 8",
        "--accumulate 0", "--accumulate 51", "--windows random", "--windows awd --window 9",
        "--time-budget 0", "--early-stop 0", "--weight-decay -1", "--average mean", "--nonmono -1",
        "--lr-factor 1", "--lr-factor 0", "--lr-hold -1", "--patience -1", "--min-improvement 0.9",
        "--warmup -1", "--loss max", "--clip-by row", "--spike 0", "--precision fp8",
        "--activation-penalty -1", "--slowness-penalty nan", "--tied=1", "--softmax nce",
        "--dropout-embedding 1", "--recurrent-dropout -1", "--zoneout 1", "--weight-drop 1",
        "--init-range 0", "--init-embedding -1", "--reset-at ab", "--preset gpt",
        "--tied --softmax adaptive", "--zoneout 0.1 --cell gru", "--weight-drop 0.1 --cell rnn",
        "--tied --embedding 0", "--dropout-embedding 0.1 --embedding 0",
        "--locked-dropout --implementation torch",
        "--folds 1", "--folds 0", "--folds -2", "--folds 999999", "--folds 3 --verify",
    ],
    ids=lambda option: option.removeprefix("--").replace(" ", "="),
)  # fmt: skip
def test_wrong_option(fails, text, tmp_path, option):
    err = fails("train", text, "--out", tmp_path / "run", *option.split())
    assert option.split()[0].partition("=")[0] in err


def test_existing_run_folder(fails, text, run):
    assert "exists already" in fails("train", text, *SMALL, "--out", run)


@pytest.mark.parametrize("out", ["fox.txt/x/y", "fox.txt/x"])
def test_impossible_run_folder_is_found_first(fails, text, tmp_path, monkeypatch, out):
    monkeypatch.setattr(commands, "read_corpus", lambda config: pytest.fail("read the corpus"))
    assert "fox.txt is not a directory" in fails("train", text, "--out", tmp_path / out)


def test_default_run_folder_is_checked_first(fails, text, tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "read_corpus", lambda config: pytest.fail("read the corpus"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").touch()
    assert "runs is not a directory" in fails("train", text)


def test_empty_names(fails, text, run):
    assert "--out: must not be empty" in fails("train", text, "--out", "")
    assert "TEXT: must not be empty" in fails("train", "")
    assert "TEXT: must not be empty" in fails("eval", run, "")
    assert "RUN: must not be empty" in fails("sample", "")


def test_resume_to_a_step_that_is_past(fails, run):
    assert "--steps must be above 20, got 10" in fails("resume", run, "--steps", 10)
    assert "--steps must be above 20, got 20" in fails("resume", run, "--steps", 20)


@pytest.mark.parametrize(
    "option",
    ["--temperature -1", "--temperature nan", "--length 0", "--length -1", "--seed -1",
     "--seed 9223372036854775808", f"--seed {10**30}", "--device tpu", "--temp 1",
     "--checkpoint first", "--threads 0", "--top-k 0", "--top-p 0", "--top-p 1.1", "--top-p nan",
     "--samples 0", "--beam 0", "--beam 2 --samples 3", "--beam 2 --top-k 3", "--stop=",
     "--seed 9223372036854775807 --samples 2", "--prime-file missing.txt --prime x"],
    ids=lambda option: option.removeprefix("--").replace(" ", "="),
)  # fmt: skip
def test_wrong_option_of_sample(fails, run, option):
    assert option.split()[0].removesuffix("=") in fails("sample", run, *option.split())


@pytest.mark.parametrize(
    "option", ["--steps 0", "--stop-after 20", "--threads 0", "--device tpu", "--stop 30"]
)
def test_wrong_option_of_resume(fails, run, option):
    assert option.split()[0] in fails("resume", run, *option.split())


def test_prime_of_a_missing_file(fails, run, tmp_path):
    assert "missing.txt: No such file" in fails("sample", run, "--prime-file", "missing.txt")


def test_eval_of_a_missing_text(fails, run, tmp_path):
    assert "missing.txt: No such file" in fails("eval", run, tmp_path / "missing.txt")


def test_unknown_command(fails):
    assert "invalid choice" in fails("trian")


def test_missing_extra_is_named(fails, text, monkeypatch):
    for name in list(sys.modules):
        if name.startswith("fastlstm.rnnlm."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert "pip install 'fastlstm[train]'" in fails("train", text)


def test_traceback_when_asked(tmp_path):
    with pytest.raises(ValueError, match="No such file"):
        main(["--traceback", "train", str(tmp_path / "missing.txt")])


def test_run_folder_is_moved_as_a_whole(command, run, tmp_path):
    """Nothing in a run folder names its own place."""
    moved = shutil.move(run, tmp_path / "elsewhere")
    assert command("sample", moved, "--length", 5)[0] == 0
