"""Streams, splits and validation: every token in its place, and none lost."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fastlstm.rnnlm import baselines
from fastlstm.rnnlm.baselines import bigram_loss, unigram_loss
from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.corpus import Corpus, read_corpus
from fastlstm.rnnlm.dataset import Streams, Text, make_dataset
from fastlstm.rnnlm.evaluation import STREAM_LEAST, Score, evaluate, token_losses
from fastlstm.rnnlm.france_words import ENGLISH
from fastlstm.rnnlm.model import make_model
from fastlstm.rnnlm.split import split_ranges
from fastlstm.rnnlm.training import compute_gradients

START = 10


def test_windows_are_contiguous_streams():
    tokens = torch.arange(100, 163, dtype=torch.int32)
    streams = Streams(tokens, START, batch=3, window=5)
    assert len(streams) == 4
    inputs = torch.cat([streams[index][0] for index in range(4)])
    targets = torch.cat([streams[index][1].view(5, 3) for index in range(4)])
    assert inputs[:, 0].tolist() == [START, *range(100, 119)]
    assert inputs[:, 1].tolist() == list(range(120, 140))
    assert targets[:, 0].tolist() == list(range(100, 120))
    assert targets[:, 2].tolist() == list(range(142, 162))


def test_windows_are_int64_of_a_narrow_text():
    inputs, targets = Streams(torch.zeros(40, dtype=torch.uint8), START, 2, 4)[1]
    assert inputs.shape == (4, 2)
    assert targets.shape == (8,)
    assert inputs.dtype == targets.dtype == torch.int64


@pytest.mark.parametrize(
    ("data", "fraction", "limit", "valid"),
    [
        pytest.param(b"aaaa\nbbbb\ncccc\n", 0.34, 100, b"cccc\n", id="at-a-line"),
        pytest.param(b"aaaa\nbbbb\ncccc\n", 0.5, 100, b"cccc\n", id="at-the-next-line"),
        pytest.param(b"a" * 100, 0.2, 7, b"a" * 7, id="limited"),
        pytest.param("我".encode() * 10, 0.27, 100, "我".encode() * 2, id="no-character-cut"),
    ],
)
def test_split(data, fraction, limit, valid):
    ((start, end),) = split_ranges(data, fraction, limit, 1)
    assert end == len(data)
    assert data[start:] == valid


def test_pieces_are_the_tails_of_stretches():
    data = b"".join(b"line %03d\n" % line for line in range(400))
    ranges = split_ranges(data, 0.1125, 10_000, 4)
    held_back = [data[start:end].decode().split("\n")[:-1] for start, end in ranges]
    assert [len(lines) for lines in held_back] == [11] * 4
    assert [lines[-1] for lines in held_back] == [f"line {x:03d}" for x in (99, 199, 299, 399)]


def test_both_parts_of_a_text_in_pieces_are_the_whole_text():
    data = b"".join(b"line %03d\n" % line for line in range(400))
    config = Config(batch=1, window=4, valid_fraction=0.4, valid_pieces=7)
    dataset = make_dataset(Corpus("x", "x", data), config)
    valid = dataset.valid.tokens.numpy().tobytes()
    assert valid == b"".join(data[start:end] for start, end in dataset.split)
    lines = valid.splitlines() + dataset.train.tokens.numpy().tobytes().splitlines()
    assert sorted(lines) == data.splitlines()


@pytest.mark.parametrize("pieces", [1, 5])
def test_both_parts_are_the_whole_text(pieces):
    config = Config(text="france", level="word", france_docs=500, valid_pieces=pieces)
    corpus = read_corpus(config)
    dataset = make_dataset(corpus, config)
    count = len(corpus.data.split()) + 500
    assert len(dataset.train.tokens) + len(dataset.valid.tokens) == count
    assert dataset.bounds.words == len(dataset.valid.tokens) == len(dataset.is_far)
    assert dataset.bounds.far_words == int(dataset.is_far.sum())
    languages = dataset.valid.tokens[dataset.is_far].tolist()
    shown = set("".join(dataset.vocabulary.decode(languages)).split())
    assert shown <= set(ENGLISH.languages.values())
    shown = "".join(dataset.vocabulary.decode(dataset.valid.tokens.tolist()))
    assert shown.encode() == b"".join(corpus.data[start:end] for start, end in dataset.split)


def test_bounds_of_the_char_level_are_those_of_the_word_level():
    bounds = []
    for level in ("word", "char"):
        config = Config(text="france", level=level, france_docs=500, valid_pieces=1)
        bounds.append(make_dataset(read_corpus(config), config).bounds)
    assert bounds[0] == bounds[1] is not None


def test_vocabulary_is_of_the_training_part_only():
    config = Config(level="char", batch=1, window=4, valid_fraction=0.4, valid_pieces=1)
    dataset = make_dataset(Corpus("x", "x", "aaaa\naaaa\né é\n".encode()), config)
    assert dataset.valid.unknown == 3  # the blank, too, is new


@pytest.fixture
def model():
    config = Config(hidden=8, layers=1, embedding=5)
    return make_model(20, config, torch.device("cpu"))


@pytest.mark.parametrize(
    "count",
    [1, 2, 777, 2 * STREAM_LEAST, 3 * STREAM_LEAST + 5],
    ids="{}-tokens".format,
)
def test_no_token_is_lost_in_validation(model, count):
    """As good as one stream over the whole text, whatever the division into streams leaves."""
    tokens = torch.randint(20, (count,), dtype=torch.int32)
    losses = token_losses(model, tokens, START)
    inputs = torch.cat([torch.tensor([START]), tokens[:-1]])[:, None].long()
    with torch.no_grad():
        logits, _ = model(inputs, model.initial_state(1))
    expected = F.cross_entropy(logits[:, 0], tokens.long(), reduction="none")
    assert losses.shape == (count,)
    torch.testing.assert_close(losses, expected, rtol=1e-4, atol=1e-5)


def test_validation_leaves_the_mode_alone(model):
    model.train()
    token_losses(model, torch.zeros(30, dtype=torch.uint8), START)
    assert model.training


def test_loss_is_the_hand_computed_one(model):
    with torch.no_grad():
        model.decoder.weight.zero_()
        model.decoder.bias.zero_()
        model.decoder.bias[3] = math.log(20)  # p(3) = 20 / 39, all others 1 / 39
    inputs, targets = torch.tensor([[1, 2], [3, 3]]), torch.tensor([3, 0, 3, 1])
    loss, _ = compute_gradients(model, inputs, targets, model.initial_state(2))
    expected = (2 * math.log(39 / 20) + 2 * math.log(39)) / 4
    assert float(loss) == pytest.approx(expected, rel=1e-6)
    score = evaluate(model, Text(torch.tensor([3, 0, 3, 1]), 8, 0), START)
    assert score.nats == pytest.approx(expected, rel=1e-6)
    assert score.perplexity == pytest.approx(math.exp(expected), rel=1e-6)


def test_bits_are_per_character_of_the_text():
    assert Score(math.log(8), tokens=10, characters=60).bits_per_character == pytest.approx(0.5)


def test_unigram_by_hand():
    train, valid = np.array([0, 0, 1], np.int32), np.array([0, 2], np.int32)
    expected = -(math.log(3 / 6) + math.log(1 / 6)) / 2
    assert unigram_loss([train[:2], train[2:]], valid, 3) == pytest.approx(expected)


@pytest.mark.parametrize("dense_most", [0, 100], ids=["sparse", "dense"])
def test_bigram_by_hand(monkeypatch, dense_most):
    """After start 0: 0 0 1 0. Followers of 0 are 0, 0, 1, of 1 it is 0, of 2 nothing."""
    train = np.array([0, 0, 1, 0], np.int32)
    unigram = np.array([4, 2, 1]) / 7
    after_0 = (np.array([2, 1, 0]) + 2 * unigram) / 5
    valid = np.array([1, 2, 0], np.int32)
    after_1 = (np.array([1, 0, 0]) + 1 * unigram) / 2
    monkeypatch.setattr(baselines, "DENSE_MOST", dense_most)
    expected = -(math.log(after_0[1]) + math.log(after_1[2]) + math.log(unigram[0])) / 3
    assert bigram_loss([train[:3], train[3:]], valid, 3, start=0) == pytest.approx(expected)


def test_standard_library_is_source_without_tests():
    corpus = read_corpus(Config())
    assert len(corpus.data) > 1_000_000
    assert b"class ArgumentParser" in corpus.data
    assert corpus.data.count(b"(unittest.TestCase)") < 20
    assert corpus.sha256 == read_corpus(Config()).sha256
