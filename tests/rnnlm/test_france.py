"""The generated corpus: its costs are exact, so its optimum is."""

from collections import Counter, defaultdict
from math import log2

import numpy as np
import pytest

from fastlstm.rnnlm.config import make_config
from fastlstm.rnnlm.corpus import read_corpus
from fastlstm.rnnlm.france import SLIP, generate_france
from fastlstm.rnnlm.france_words import ENGLISH

LANGUAGES, SUBJECTS, VERBS = ENGLISH.languages, ENGLISH.subjects, ENGLISH.verbs
ADJECTIVES, NOUNS = ENGLISH.adjectives, ENGLISH.nouns


def derivation_bits(line: str, proceed: float) -> float:
    """-log2 of a document's probability, from its text alone: another way than the generator's."""
    words = line.split()
    filler = words[6:-5]
    assert len(filler) % 5 == 0
    bits = log2(16) - log2(1 - proceed)
    for subject, verb, adjective, noun, stop in zip(*[iter(filler)] * 5, strict=True):
        assert subject in SUBJECTS
        assert verb in VERBS
        assert noun in NOUNS[ADJECTIVES.index(adjective) % 2]
        assert stop == "."
        bits -= log2(proceed)
        bits += log2(len(SUBJECTS) * len(VERBS) * len(ADJECTIVES) * len(NOUNS[0]))
    own = LANGUAGES[words[4]] == words[-2]
    return bits - (log2(1 - SLIP) if own else log2(SLIP / 15))


@pytest.mark.parametrize("distance", [0.5, 4.0], ids="distance{}".format)
def test_bits_are_those_of_the_derivation(distance):
    france = generate_france(300, distance)
    lines = france.text.splitlines()
    expected = sum(derivation_bits(line, distance / (1 + distance)) for line in lines)
    assert len(lines) == 300
    assert france.bits.sum() == pytest.approx(expected, rel=1e-12)


def test_bits_are_those_of_the_frequencies():
    """Where the text branches, how often each word came must fit the cost that is claimed."""
    france = generate_france(20_000, 4.0)
    words = france.text.replace("\n", " <eos> ").split()
    claimed, counts = defaultdict(set), defaultdict(Counter)
    for previous, word, bits in zip(["<eos>", *words], words, france.bits, strict=False):
        if previous == "in" or previous in VERBS or previous in ADJECTIVES or previous == ".":
            counts[previous][word] += 1
            claimed[previous, word].add(round(float(bits), 9))
    for verb in VERBS:
        for adjective in ADJECTIVES:
            assert claimed[verb, adjective] == {round(log2(6), 9)}
            share = counts[verb][adjective] / counts[verb].total()
            assert share == pytest.approx(1 / 6, rel=0.1)
    assert counts["in"]["France"] / 20_000 == pytest.approx(1 / 16, rel=0.1)


def test_language_is_the_countrys_own_but_for_slips():
    lines = [line.split() for line in generate_france(20_000, 1.0).text.splitlines()]
    own = sum(LANGUAGES[line[4]] == line[-2] for line in lines) / len(lines)
    assert own == pytest.approx(1 - SLIP, abs=0.006)


def test_marks_exactly_the_languages():
    france = generate_france(50, 4.0)
    words = np.array(france.text.replace("\n", " <eos> ").split())
    assert len(words) == len(france.bits) == len(france.is_far)
    assert set(words[france.is_far]) <= set(LANGUAGES.values())
    assert france.is_far.sum() == 50
    assert np.all(words[np.flatnonzero(france.is_far) - 1] == "fluent")


def test_bounds_of_a_tail_are_of_that_tail():
    france = generate_france(200, 4.0)
    lines = france.text.splitlines()
    words = sum(len(line.split()) + 1 for line in lines[-30:])
    bounds = france.bounds(np.arange(len(france.bits)) >= len(france.bits) - words)
    assert bounds.optimal_bits == pytest.approx(sum(derivation_bits(x, 0.8) for x in lines[-30:]))
    assert bounds.far_words == 30
    forgotten = bounds.optimal_bits - bounds.far_bits + 30 * log2(16)
    assert bounds.memoryless_bits == pytest.approx(forgotten)
    assert bounds.optimal_perplexity < bounds.memoryless_perplexity


@pytest.fixture(scope="module")
def default_corpus():
    return read_corpus(make_config({"text": "france"}))


def test_known_optimum_of_the_default_corpus(default_corpus):
    """K 16, slip .05, distance 2: 27.58 bits a document by the entropy of its source."""
    france = default_corpus.generated
    assert france.bits.sum() / 20_000 == pytest.approx(27.58, rel=0.01)
    assert france.bounds(np.ones(len(france.bits), bool)).optimal_perplexity == pytest.approx(
        2.384, rel=0.01
    )


def test_same_text_everywhere(default_corpus):
    assert default_corpus.sha256.startswith("51b78a9bb6c77025")
    assert generate_france(10, 2.0, seed=1).text != generate_france(10, 2.0, seed=2).text


def test_only_the_config_has_a_default_distance():
    with pytest.raises(TypeError, match="distance"):
        generate_france(10)
