"""K-fold cross-validation: every part is held back once, and learnt from in all other folds."""

import re
import statistics

import pytest
import torch
from conftest import SENTENCE, SMALL

from fastlstm.rnnlm import folds
from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.corpus import Corpus
from fastlstm.rnnlm.folds import cross_validate, fold_ranges
from fastlstm.rnnlm.report import make_console


@pytest.mark.parametrize("count", [2, 3, 7])
def test_stretches_are_the_whole_text(count):
    data = b"".join(b"line %03d\n" % line for line in range(100))
    ranges = fold_ranges(data, count)
    assert b"".join(data[start:end] for start, end in ranges) == data
    for start, end in ranges:
        assert data[start : start + 4] == b"line"
        assert abs((end - start) - len(data) / count) < 10


def test_each_fold_learns_from_the_others_alone(monkeypatch):
    made = []
    make_dataset = folds.make_dataset

    def remember(*arguments, **options):
        made.append(make_dataset(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(folds, "make_dataset", remember)
    data = "".join(f"{letter} words\n" * 50 for letter in "abc").encode()
    config = Config(hidden=4, layers=1, batch=2, window=5, steps=3)
    corpus, console = Corpus("x", "x", data), make_console()
    scores = list(cross_validate(console, corpus, config, 3, torch.device("cpu"), lambda: False))
    assert len(scores) == len(made) == 3
    for letter, dataset in zip("abc", made, strict=True):
        train, valid = (bytes(part.tokens.tolist()) for part in (dataset.train, dataset.valid))
        assert valid == f"{letter} words\n".encode() * 50
        assert len(train) + len(valid) == len(data)
        assert f"{letter} w".encode() not in train


def test_mean_and_spread_are_those_of_the_folds(command, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    code, out, err = command("train", text, *SMALL, "--steps", 12, "--folds", 3)
    assert (code, err) == (0, "")
    nats = [float(found) for found in re.findall(r"^fold .*?([\d.]+) nats", out, re.MULTILINE)]
    assert len(nats) == 3
    mean, spread, least, most = re.search(r"^nats/token +(.*)", out, re.MULTILINE)[1].split()
    assert float(mean) == pytest.approx(statistics.fmean(nats), abs=1e-4)
    assert float(spread) == pytest.approx(statistics.stdev(nats), abs=2e-4)
    assert [float(least), float(most)] == [min(nats), max(nats)]
    assert set(tmp_path.iterdir()) == before
    assert (
        command("train", text, *SMALL, "--steps", 12, "--folds", 3)[1].splitlines()[-4:]
        == (out.splitlines()[-4:])
    )


def test_interrupted_folds_are_no_result(command, text, monkeypatch):
    train_steps = folds.train_steps

    def stop_in_the_second(training, streams, config, until, interrupted):
        counted.append(1)
        return train_steps(training, streams, config, until, lambda: len(counted) == 2)

    counted = []
    monkeypatch.setattr(folds, "train_steps", stop_in_the_second)
    code, out, _ = command("train", text, *SMALL, "--steps", 12, "--folds", 3)
    assert code == 130
    assert out.count("fold 1/3") == 1
    assert "mean" not in out


def test_folds_of_a_folder_cut_its_training_text(command, tmp_path):
    for part in ("train", "valid", "test"):
        (tmp_path / f"{part}.txt").write_text(SENTENCE * (60 if part == "train" else 1))
    options = ["--steps", 2, "--folds", 2, "--level", "word"]
    code, out, _ = command("train", tmp_path, *SMALL, *options)
    assert code == 0
    assert out.count("450 words train, 450 valid") == 2


@pytest.mark.parametrize("option", ["--lr-decay newbob", "--average stall", "--time-budget 1"])
def test_options_that_folds_cannot_follow(fails, text, option):
    assert "--folds trains a fixed number" in fails("train", text, "--folds", 2, *option.split())
