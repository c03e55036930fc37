"""Baselines beside a model, per-token scores and the context curve, through the command."""

import gzip
import math
import random
from contextlib import suppress

import numpy as np
import pytest
import torch
from conftest import SENTENCE, SMALL

from fastlstm.rnnlm import kneser_ney, yardsticks
from fastlstm.rnnlm.chunks import read_tail
from fastlstm.rnnlm.compression import BEFORE, compressed_bytes
from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.context_curve import context_loss, curve_lengths, curve_targets
from fastlstm.rnnlm.evaluation import Score
from fastlstm.rnnlm.kneser_ney import KneserNey, kneser_ney_loss
from fastlstm.rnnlm.model import make_model
from fastlstm.rnnlm.vocabularies import build_vocabulary


def rows_of(out):
    """The rows of a table: name, and its numbers."""
    rows = {}
    for line in out.splitlines():
        name, *numbers = [part for part in line.split("  ") if part.strip()] or [""]
        with suppress(ValueError):
            if numbers:
                rows[name.strip()] = [float(number) for number in numbers]
    return rows


def test_a_compressor_pays_for_what_is_new_alone():
    noise = random.Random(1).randbytes(20_000)
    for name in ("gzip -9", "xz -6"):
        assert compressed_bytes(b"abc" * 50, [noise])[name] == pytest.approx(20_000, rel=0.01)
        assert compressed_bytes(noise, [noise[:9_000], noise[9_000:]])[name] < 400
        assert compressed_bytes(b"", [noise])[name] == pytest.approx(20_000, rel=0.01)
    assert compressed_bytes(b"x", [b"y" * 4, b"y" * 5])["gzip -9"] == (
        len(gzip.compress(b"x" + b"y" * 9, 9)) - len(gzip.compress(b"x", 9))
    )
    far = noise + b"\0" * BEFORE
    assert compressed_bytes(far, [noise])["xz -6"] > 15_000  # noise lies too far back


@pytest.mark.parametrize("most", range(8))
def test_tail_of_ranges(most):
    ranges = [(0, 2), (4, 8)]
    assert read_tail(b"0123456789", ranges, most) == b"014567"[max(0, 6 - most) :]


def test_bits_per_byte_beside_bits_per_character():
    score = Score(math.log(2), tokens=30, characters=60, byte_count=120)
    assert score.bits_per_character == pytest.approx(0.5)
    assert score.bits_per_byte == pytest.approx(0.25)
    assert Score(1.0, 3, 3).bits_per_byte is None


def test_baselines_of_the_validation_part(command, trained):
    code, out, err = command("eval", trained, "--baselines")
    assert (code, err) == (0, "")
    rows = rows_of(out)
    assert list(rows) == ["unigram", "bigram", "Kneser-Ney 5-gram", "gzip -9", "xz -6", "model"]
    assert rows["Kneser-Ney 5-gram"][0] < rows["bigram"][0] < rows["unigram"][0]
    assert rows["model"][0] == pytest.approx(float(out.split("tokens\n")[1].split()[0]), abs=1e-4)
    for nats, perplexity, per_character, per_byte in rows.values():
        assert perplexity == pytest.approx(math.exp(nats), rel=1e-3)
        assert per_character == pytest.approx(nats / math.log(2), rel=1e-3, abs=1e-4)
        sizes = len(SENTENCE) / len(SENTENCE.encode())
        assert per_byte == pytest.approx(per_character * sizes, rel=0.03)


def test_baselines_of_another_text_learn_from_the_training_part(command, trained, tmp_path):
    (tmp_path / "other.txt").write_text(SENTENCE * 3)
    rows = rows_of(command("eval", trained, tmp_path / "other.txt", "--baselines")[1])
    data = (trained.parent / "fox.txt").read_bytes()
    vocabulary = build_vocabulary("char", [data], 1000)
    train = vocabulary.encode(data)
    expected = kneser_ney_loss(
        train, vocabulary.encode(SENTENCE.encode() * 3), len(vocabulary), vocabulary.start
    )
    assert rows["Kneser-Ney 5-gram"][0] == pytest.approx(expected, abs=5e-3)
    assert "optimum" not in rows


def test_train_reports_them_with_the_known_optimum(command, tmp_path):
    options = [*SMALL, "--france-docs", 400, "--steps", 4, "--out", tmp_path / "run"]
    out = command("train", "france", *options)[1].split("\nvalidation part")[-1]
    rows = rows_of(out)
    names = ["unigram", "bigram", "memoryless bound", "optimum", "Kneser-Ney 5-gram", "gzip -9"]
    assert list(rows)[:6] == names
    assert rows["optimum"][0] < rows["Kneser-Ney 5-gram"][0] < rows["unigram"][0]
    assert command("eval", tmp_path / "run", "--baselines")[1].count("optimum") == 1


@pytest.mark.parametrize("level", ["char", "byte"])
def test_scores_of_all_tokens(command, trained, text, tmp_path, level):
    run = trained
    if level == "byte":
        run = tmp_path / "bytes"
        assert command("train", text, *SMALL, "--steps", 3, "--out", run)[0] == 0
    (tmp_path / "other.txt").write_text("fox 我\n", encoding="utf-8")
    out = command("eval", run, tmp_path / "other.txt", "--scores", tmp_path / "scores.tsv")[1]
    lines = (tmp_path / "scores.tsv").read_text(encoding="utf-8").splitlines()
    assert lines[0].split("\t") == ["place", "token", "nats", "bits"]
    rows = [line.split("\t") for line in lines[1:]]
    last = {"char": ["我", "\\n"], "byte": ["\\xe6", "\\x88", "\\x91", "\\n"]}[level]
    assert [row[1] for row in rows] == [*"fox ", *last]
    assert [int(row[0]) for row in rows] == list(range(len(rows)))
    mean = np.mean([float(row[2]) for row in rows])
    assert f"{mean:.4f} nats" in out
    assert float(rows[0][3]) == pytest.approx(float(rows[0][2]) / math.log(2), abs=1e-5)
    shown = command("eval", run, tmp_path / "other.txt", "--scores", "-")[1]
    assert shown.splitlines() == lines


def test_lengths_of_the_curve():
    assert curve_lengths(1) == [1]
    assert curve_lengths(4) == [1, 2, 3, 4]
    assert curve_lengths(40) == [1, 2, 3, 4, 8, 16, 32, 40]
    assert curve_lengths(64) == [1, 2, 3, 4, 8, 16, 32, 64]


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("length", [1, 3, 70])
def test_context_is_exactly_as_long_as_said(cell, length):
    """Against each target predicted by itself."""
    model = make_model(9, Config(hidden=8, layers=2, cell=cell), torch.device("cpu"))
    tokens, start = torch.randint(9, (100,), dtype=torch.int32), 4
    targets = curve_targets(100, 70)
    assert targets.tolist() == list(range(69, 100))
    text, losses = [start, *tokens.tolist()], []
    for place in targets.tolist():
        x = torch.tensor(text[place + 1 - length : place + 1])[:, None]
        with torch.no_grad():
            logits, _ = model(x, model.initial_state(1))
        losses.append(-float(torch.log_softmax(logits[-1, 0], 0)[tokens[place]]))
    got = context_loss(model, tokens, start, targets, length)
    assert got == pytest.approx(np.mean(losses), rel=1e-5)


def test_the_curve_beside_n_grams(command, trained):
    code, out, _ = command("eval", trained, "--context", 16, "--baselines")
    assert code == 0
    curve = rows_of(out.split("tokens before")[1])
    assert list(curve) == ["1", "2", "3", "4", "8", "16", "all"]
    assert [len(row) for row in curve.values()] == [3, 3, 3, 3, 2, 2, 2]
    assert curve["4"][2] < curve["1"][2]  # the 5-gram and the bigram


def test_a_context_longer_than_the_text(fails, run, tmp_path):
    (tmp_path / "other.txt").write_text("fox")
    assert "--context must be at most the 3 tokens" in fails(
        "eval", run, tmp_path / "other.txt", "--context", 4
    )


def test_the_parts_of_a_folder(command, fails, tmp_path):
    """Each by --part; baselines of all learn from the training part."""
    folder, lines = tmp_path / "texts", {"train": 40, "valid": 5, "test": 7}
    folder.mkdir()
    for part, count in lines.items():
        (folder / f"{part}.txt").write_text(SENTENCE * count, encoding="utf-8")
    run = tmp_path / "run"
    options = ["--level", "zh-word", "--steps", 5, "--out", run]
    assert command("train", folder, *SMALL, *options)[0] == 0
    for part, count in lines.items():
        code, out, _ = command("eval", run, "--part", part, "--baselines")
        assert code == 0
        assert f" part, {15 * count} tokens" in out
        rows = rows_of(out)
        assert len(rows) == 6
        file = command("eval", run, folder / f"{part}.txt", "--baselines")[1]
        assert rows_of(file) == rows
    wrong = fails("eval", run, folder / "test.txt", "--part", "test")
    assert "give it or TEXT, not both" in wrong


def test_n_grams_of_a_long_text_are_scored_in_blocks(monkeypatch):
    rng = np.random.default_rng(3)
    train, valid = rng.integers(0, 4, 300), rng.integers(0, 4, 50)
    expected = KneserNey(train, 4, 0).losses(valid).mean()
    for block in (1, 2, 7, 50):
        monkeypatch.setattr(kneser_ney, "BLOCK", block)
        assert kneser_ney_loss(train, valid, 4, 0) == pytest.approx(expected, rel=1e-12)


def test_n_grams_learn_from_the_last_tokens(command, trained, monkeypatch):
    monkeypatch.setattr(yardsticks, "N_GRAM_MOST", 1000)
    rows = rows_of(command("eval", trained, "--baselines")[1])
    assert "Kneser-Ney 5-gram, last 1,000" in rows
