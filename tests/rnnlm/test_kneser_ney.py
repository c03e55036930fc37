"""Kneser-Ney by hand, by its definition in plain Python, and as a distribution."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.corpus import read_corpus
from fastlstm.rnnlm.kneser_ney import FALLBACK, KneserNey, kneser_ney_loss


def tokens(*numbers):
    return np.array(numbers, np.int32)


def test_bigram_by_hand():
    """After start 0: 1 2 1 2 3 1 3. Bigrams: 12 twice, 01, 21, 23, 31, 13 once.

    No bigram comes three times: D is .5 and 1. Tokens before 1: 0, 2, 3; before 2: 1; before 3: 2,
    1. So c = 0 3 1 2 and n_1 = n_2 = n_3 = 1, n_4 = 0: Y = 1/3, D = 1/3, 1, 3, mass = 13/3, and
    p(w) = (c - D(c) + mass / 4) / 6.
    """
    model = KneserNey(tokens(1, 2, 1, 2, 3, 1, 3), size=4, start=0, order=2)
    unigram = (np.array([0, 3 - 3, 1 - 1 / 3, 2 - 1]) + 13 / 3 / 4) / 6
    assert unigram.sum() == pytest.approx(1)
    after_1 = (np.array([0, 0, 2 - 1, 1 - 0.5]) + (1 + 0.5) * unigram) / 3
    after_0 = (np.array([0, 0.5, 0, 0]) + 0.5 * unigram) / 1
    got = np.exp(-model.losses(tokens(1, 2, 0, 0)))
    # 0 0 was never seen, 0 was
    assert got == pytest.approx([after_0[1], after_1[2], (0 + 1 * unigram[0]) / 2, after_0[0]])


def test_unigrams_of_order_1_are_raw_counts():
    got = np.exp(-KneserNey(tokens(1, 1, 1, 2), 4, 0, order=1).losses(tokens(1, 2, 3)))
    assert got == pytest.approx([(3 - 1.5 + 2 / 4) / 4, (1 - 0.5 + 2 / 4) / 4, 2 / 4 / 4])


class Definition:
    """The formulas of the module's docstring, with dictionaries."""

    def __init__(self, train, size, start, order):
        text = [start] * (order - 1) + list(train)
        self.size, self.start, self.order = size, start, order
        self.counts = {order: Counter(zip(*(text[i:] for i in range(order)), strict=False))}
        for k in range(order - 1, 0, -1):
            self.counts[k] = Counter(gram[1:] for gram in self.counts[k + 1])
        self.discounts, self.followers = {}, defaultdict(list)
        for k, counts in self.counts.items():
            n = Counter(counts.values())
            self.discounts[k] = FALLBACK
            if n[1] and n[2] and n[3]:
                y = n[1] / (n[1] + 2 * n[2])
                own = [r - (r + 1) * y * n[r + 1] / n[r] for r in (1, 2, 3)]
                if min(own) >= 0:
                    self.discounts[k] = [0, *own]
            for gram, count in counts.items():
                self.followers[gram[:-1]].append(count)

    def chance(self, context, token):
        lower = 1 / self.size if not context else self.chance(context[1:], token)
        counts = self.followers.get(context)
        if not counts:
            return lower
        discount = self.discounts[len(context) + 1]
        count = self.counts[len(context) + 1].get((*context, token), 0)
        mass = sum(discount[min(c, 3)] for c in counts)
        return (count - discount[min(count, 3)] + mass * lower) / sum(counts)

    def chances(self, text):
        padded = [self.start] * (self.order - 1) + list(text)
        return [
            self.chance(tuple(padded[at : at + self.order - 1]), token)
            for at, token in enumerate(text)
        ]


def skewed(count, size, seed):
    """A text with repetition and a long tail of rare tokens."""
    draw = np.random.default_rng(seed)
    words = np.minimum(draw.geometric(0.25, count) - 1, size - 1)
    words[1::3] = (words[::3][: len(words[1::3])] * 7 + 1) % size
    return words.astype(np.int32)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [3, 40])
def test_as_by_the_definition(order, size):
    train, text = skewed(900, size, 1), skewed(200, size, 2)
    definition = Definition(train.tolist(), size, 2, order)
    expected = definition.chances(text.tolist())
    if size == 40 and order > 1:  # the discounts are estimated, not the fallback
        assert any(tuple(d) != FALLBACK for d in definition.discounts.values())
    got = np.exp(-KneserNey(train, size, 2, order).losses(text))
    np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize("history", [[], [5], [1, 2, 3, 4], [39, 39, 39, 39, 39], [0, 1] * 5])
def test_probabilities_sum_to_1(history):
    model = KneserNey(skewed(3000, 40, 3), 40, 0)
    last = [model.losses(tokens(*history, token))[-1] for token in range(40)]
    assert np.exp(-np.array(last)).sum() == pytest.approx(1, rel=1e-12)
    assert np.isfinite(last).all()


def test_bytes():
    """uint8 tokens, and most of the vocabulary never seen."""
    text = np.frombuffer(b"the cat sat on the mat . " * 40, np.uint8)
    loss = kneser_ney_loss(text[:-50], text[-50:], 256, ord("\n"))
    assert 0 < loss < 0.1


def test_longer_contexts_pay_on_real_text():
    data = read_corpus(Config()).data[:600_000]
    train, valid = (np.frombuffer(part, np.uint8) for part in (data[:-50_000], data[-50_000:]))
    losses = [kneser_ney_loss(train, valid, 256, 10, order) for order in (1, 2, 3, 5)]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > 2.9
    assert 1.2 < losses[-1] < losses[1] - 0.5
