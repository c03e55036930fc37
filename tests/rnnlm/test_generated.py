"""The other generated texts: france in its variations, Markov chains, brackets; all costs exact."""

from collections import Counter, defaultdict
from math import log2

import numpy as np
import pytest
from conftest import SMALL

from fastlstm.rnnlm.config import make_config
from fastlstm.rnnlm.corpus import read_corpus
from fastlstm.rnnlm.dyck import OPEN, PAIRS, generate_dyck
from fastlstm.rnnlm.france import SLIP, generate_france
from fastlstm.rnnlm.france_words import COUNTRIES_MOST, ENGLISH, SKINS
from fastlstm.rnnlm.markov import END, generate_markov, shares


def words_of(generated):
    words = generated.text.replace("\n", " \n ").split(" ")
    words = [word for word in words if word]
    assert len(words) == len(generated.bits) == len(generated.is_far)
    return words


def france_bits(line: str, skin, countries: int, distance: int | None) -> float:
    """-log2 of a document's probability at distance 1 or a fixed one, from its text alone."""
    words = line.split()
    head, tail = len(skin.grew_up), len(skin.speak) + 2
    filler = words[head + 2 : -tail]
    languages = dict(list(skin.languages.items())[:countries])
    assert tuple(words[:head]) == skin.grew_up
    assert tuple(words[-tail:-2]) == skin.speak
    sentences = len(filler) // 5
    assert len(filler) == 5 * sentences
    assert distance is None or sentences == distance
    bits = log2(countries) + sentences * log2(6 * 8 * 6 * 4)
    bits += sentences + 1 if distance is None else 0  # a coin for each: go on, or not
    own = languages[words[head]] == words[-2]
    assert words[-2] in languages.values()
    return bits - (log2(1 - SLIP) if own else log2(SLIP / (countries - 1)))


@pytest.mark.parametrize("distance", [None, 0, 3], ids="distance{}".format)
@pytest.mark.parametrize("countries", [2, 16, COUNTRIES_MOST])
@pytest.mark.parametrize("skin", SKINS)
def test_france_varied(skin, countries, distance):
    fixed = distance is not None
    mean = 1.0 if distance is None else float(distance)
    france = generate_france(400, mean, fixed=fixed, countries=countries, skin=skin)
    lines = france.text.splitlines()
    expected = [france_bits(line, SKINS[skin], countries, distance) for line in lines]
    assert len(lines) == france.is_far.sum() == 400
    assert france.bits.sum() == pytest.approx(sum(expected), rel=1e-12)
    words = words_of(france)
    far = [words[at] for at in np.flatnonzero(france.is_far)]
    assert far == [line.split()[-2] for line in lines]
    forgotten = france.forgetful_bits.sum() - france.bits.sum()
    paid = france.bits[france.is_far].sum()
    assert forgotten == pytest.approx(400 * log2(countries) - paid)
    assert len({line.split()[len(SKINS[skin].grew_up)] for line in lines}) == countries


def test_skins_have_as_many_words_of_each_kind():
    chinese = SKINS["chinese"]
    for name in ("languages", "subjects", "verbs", "adjectives"):
        assert len(getattr(chinese, name)) == len(getattr(ENGLISH, name))
    for skin in SKINS.values():
        assert len(set(skin.languages.values())) == COUNTRIES_MOST
        assert [len(half) for half in skin.nouns] == [4, 4]


def test_fixed_distance_is_whole(fails, tmp_path):
    options = ["--france-distance", 2.5, "--france-spread", "fixed", "--out", tmp_path / "run"]
    assert "--france-distance must be whole" in fails("train", "france", *options)


@pytest.mark.parametrize("order", [0, 1, 3])
def test_markov_costs_are_its_frequencies(order):
    """The claimed cost of each symbol after each context, against how often it came there."""
    markov = generate_markov(60_000, order, 3)
    counts, claimed = defaultdict(Counter), defaultdict(set)
    context, line_start, ends = "a" * order, True, 0
    for word, cost in zip(words_of(markov), markov.bits, strict=True):
        if word == "\n":
            ends += 1
            line_start = True
            assert cost == pytest.approx(-log2(END))
            continue
        counts[context][word] += 1
        claimed[context, word].add(round(cost + (0 if line_start else log2(1 - END)), 9))
        context, line_start = (context + word)[1:] if order else "", False
    assert ends / 60_000 == pytest.approx(END, rel=0.1)
    assert len(counts) == 3**order
    for context, symbols in counts.items():
        assert len(symbols) == 3
        for symbol, count in symbols.items():
            (bits,) = claimed[context, symbol]
            assert count / symbols.total() == pytest.approx(2**-bits, abs=0.06)


def test_markov_of_a_lower_order_says_little():
    """Only a context of the whole order has the entropy of the chain."""
    markov = generate_markov(100_000, 2, 8)
    symbols = markov.text.replace("\n", " ").split()

    def conditional_bits(order: int) -> float:
        counts = defaultdict(Counter)
        for at in range(order, len(symbols)):
            counts[tuple(symbols[at - order : at])][symbols[at]] += 1
        costs = (
            -count * log2(count / followers.total())
            for followers in counts.values()
            for count in followers.values()
        )
        return sum(costs) / (len(symbols) - order)

    entropy = -sum(share * log2(share) for share in shares(8))
    assert sum(shares(8)) == pytest.approx(1)
    assert conditional_bits(2) == pytest.approx(entropy, rel=0.01)
    assert conditional_bits(1) > entropy + 0.5
    ends = -log2(END) * END - log2(1 - END) * (1 - END)
    assert markov.bits.sum() / len(symbols) == pytest.approx(entropy + ends, rel=0.01)


@pytest.mark.parametrize(("kinds", "depth"), [(2, 1), (4, 8), (8, 3)])
def test_dyck_costs_are_those_of_its_lines(kinds, depth):
    dyck = generate_dyck(20_000, kinds, depth)
    opening = {pair[0]: pair[1] for pair in PAIRS[:kinds]}
    stack, deepest, expected, closing = [], 0, [], []
    for word in words_of(dyck):
        if word == "\n":
            assert not stack
            expected.append(0.0)
            closing.append(False)
            continue
        choice = 0.0 if len(stack) in (0, depth) else 1.0  # OPEN is a half
        closing.append(word not in opening)
        expected.append(choice + (log2(kinds) if word in opening else 0.0))
        if word in opening:
            stack.append(opening[word])
        else:
            assert stack.pop() == word
        deepest = max(deepest, len(stack))
    assert OPEN == 0.5
    assert deepest == depth
    assert dyck.bits.tolist() == pytest.approx(expected)
    assert dyck.is_far.tolist() == closing
    forgetful = np.array(expected) + np.array(closing) * log2(kinds)
    assert dyck.forgetful_bits.tolist() == pytest.approx(forgetful.tolist())


def test_dyck_choices_are_coins():
    words = words_of(generate_dyck(50_000, 4, 8))
    depth, opened, inside, kinds = 0, 0, 0, Counter()
    for word in words:
        opens = any(word == pair[0] for pair in PAIRS)
        if 0 < depth < 8:
            inside += 1
            opened += opens
        if opens:
            kinds[word] += 1
        depth += opens - (not opens and word != "\n")
    assert opened / inside == pytest.approx(OPEN, abs=0.01)
    for count in kinds.values():
        assert count / kinds.total() == pytest.approx(1 / 4, abs=0.01)


@pytest.mark.parametrize("text", ["markov", "dyck"])
def test_same_text_everywhere(text):
    digests = {"markov": "02b576753fc63e6b", "dyck": "d454d9b77b3de126"}
    assert read_corpus(make_config({"text": text, "symbols": 5000})).sha256[:16] == digests[text]


@pytest.mark.parametrize("level", ["byte", "word"])
@pytest.mark.parametrize("text", ["markov", "dyck", "france"])
def test_run_on_a_generated_text(command, tmp_path, text, level):
    options = ["--symbols", 20_000, "--france-docs", 500, "--level", level, *SMALL, "--steps", 30]
    code, out, err = command("train", text, *options, "--out", tmp_path / "run")
    assert (code, err) == (0, "")
    assert "off the optimum" in out
    assert ("memoryless bound" in out) == (text != "markov")
    assert ("costs" in out) == (text != "markov" and level == "word")
    assert command("eval", tmp_path / "run")[0] == 0


@pytest.mark.parametrize(
    "option",
    [
        "--markov-order -1", "--markov-alphabet 27", "--dyck-kinds 9", "--dyck-depth 0",
        "--symbols 1", "--france-countries 1", f"--france-countries {COUNTRIES_MOST + 1}",
        "--france-skin latin", "--france-spread odd", "--min-count 0",
    ],
    ids=lambda option: option.removeprefix("--").replace(" ", "="),
)  # fmt: skip
def test_wrong_option(fails, tmp_path, option):
    assert option.split()[0] in fails("train", "dyck", "--out", tmp_path / "run", *option.split())
