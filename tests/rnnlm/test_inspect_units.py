"""The features of a text, and the ranking of units that track them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fastlstm.rnnlm.inspect import features, units
from fastlstm.rnnlm.inspect.coloured import colour, lay_out, text_html
from fastlstm.rnnlm.inspect.ranking import Ranked, classes, entropy, information_share, rank_units


def marks(numbers):
    return "".join(str(min(int(n), 9)) for n in numbers)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a "bc" d', "00111000"),
        ("don't 'go' ok", "0000001110000"),
        ("x 'it isn't' y", "00111111111000"),
        ('say "never', "0000000000"),
        ("\u201c\u4f60\u597d\u201d\u3002", "11100"),
        ("\u300c\u6211\u300d", "110"),
    ],
)
def test_inside_quotes(text, expected):
    assert marks(features.inside_quotes(text)) == expected


def test_quotation_without_end_is_none():
    far = '"' + "a" * (features.QUOTE_MOST + 1) + '"'
    assert features.inside_quotes(far).sum() == 0


def test_bracket_depth_leaves_quotations_out_and_starts_anew_after_a_blank_line():
    text = 'f(a[1], "(") ((\n\nx'
    depths = features.text_features(text)["bracket depth"]
    at = {index: int(depths[index]) for index in range(len(text))}
    assert at[1] == 1
    assert at[3] == 2
    assert at[5] == 1
    assert at[text.index('"(') + 1] == 1
    assert at[text.index(") (")] == 0
    assert at[text.index("((") + 1] == 2
    assert at[len(text) - 2] == at[len(text) - 1] == 0


def test_indentation_and_position():
    text = "  a b\n\tc"
    assert marks(features.indentation(text)) == "122220" + "88"
    assert marks(features.line_position(text)) == "123450" + "12"


def test_features_of_tokens_are_of_their_last_characters():
    pieces = ["", "if", " (", "a", "b", ")\n"]
    found = features.token_features(pieces)
    assert found["bracket depth"].tolist() == [0, 0, 1, 1, 1, 0]
    assert found["position in line"].tolist() == [0, 2, 4, 5, 6, 0]


def planted(tokens=4000, noise=0.3):
    """Memory [2, N, 10] of noise, but unit 7 of layer 1 follows a bit that is kept for a while."""
    generator = np.random.default_rng(0)
    feature = np.repeat(generator.integers(0, 2, tokens // 20), 20)
    memory = torch.from_numpy(generator.standard_normal((2, tokens, 10)))
    memory[1, :, 7] = torch.from_numpy(-1.0 * feature + noise * generator.standard_normal(tokens))
    return memory, feature


def test_ranking_finds_the_planted_unit():
    memory, feature = planted()
    best, second, *_ = rank_units(memory, feature, 5)
    assert (best.layer, best.unit) == (1, 7)
    assert best.share > 0.5
    expected = np.corrcoef(memory[1, 2000:, 7], feature[2000:])[0, 1]
    assert best.correlation == pytest.approx(expected)
    assert best.correlation < -0.8
    assert second.share < 0.05


def test_ranking_is_measured_where_it_was_not_chosen():
    """A unit that follows the feature in the first half only comes first, and is found out."""
    memory, feature = planted()
    memory[1, 2000:, 7] = torch.randn(2000, dtype=torch.float64)
    best = rank_units(memory, feature, 1)[0]
    assert (best.layer, best.unit) == (1, 7)
    assert best.share < 0.02


def test_feature_that_is_not_there_has_no_ranking():
    memory, feature = planted()
    assert rank_units(memory, feature * 0, 5) == []
    feature[:2000] = 0
    assert rank_units(memory, feature, 5) == []


def test_unit_that_is_best_for_two_features_is_shown_once():
    rankings = {
        "inside quotes": [Ranked(0, 13, 0.09, -0.1), Ranked(0, 5, 0.08, 0.3)],
        "indentation": [Ranked(1, 13, 0.49, 0.0)],
        "bracket depth": [Ranked(0, 13, 0.5, -0.6)],
    }
    titles = units._chosen(SimpleNamespace(unit=None), rankings)
    assert titles == [
        (
            "layer 0, unit 13: best of all for inside quotes, 0.09 of its entropy; "
            "best of all for bracket depth, 0.50 of its entropy",
            *(0, 13),
        ),
        ("layer 1, unit 13: best of all for indentation, 0.49 of its entropy", 1, 13),
    ]


def test_share_of_information():
    feature = np.tile([0, 1], 500)
    assert information_share(feature.astype(float), feature) == pytest.approx(1, abs=0.002)
    noise = np.random.default_rng(1).standard_normal(1000)
    assert information_share(noise, feature) < 0.02
    assert information_share(np.zeros(1000), feature) == 0
    assert entropy(classes(feature)) == pytest.approx(1)
    assert len(np.unique(classes(noise))) == 8
    assert entropy(classes(noise)) == pytest.approx(3, abs=0.01)


def test_share_of_information_is_not_made_of_chance():
    """In 120 tokens 8 x 8 cells agree by chance in 0.3 bits of 3; on average that is taken off."""
    generator = np.random.default_rng(2)
    shares = [
        information_share(generator.standard_normal(120), generator.integers(0, 8, 120))
        for _ in range(40)
    ]
    assert np.mean(shares) < 0.05


def test_colours_tell_the_sign():
    def channels(value):
        return [int(colour(value)[at : at + 2], 16) for at in (1, 3, 5)]

    red, _, blue = channels(1.0)
    assert red > blue + 60
    red, _, blue = channels(-1.0)
    assert blue > red + 60
    assert min(channels(0.0)) > 235
    assert colour(7.0) == colour(1.0)


def test_text_is_escaped():
    html = text_html(["<b>", "\n"], [0.0, 1.0], ['say "hi" & <go>', ""])
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
    assert 'title="say &quot;hi&quot; &amp; &lt;go&gt;"' in html


def test_layout_wraps_and_gives_wide_characters_two_columns():
    cells = lay_out(["a\u4e2d", "\n", "b" * 150])
    assert cells[:4] == [(0, 0, "a", 0), (0, 1, "\u4e2d", 0), (0, 3, " ", 1), (1, 0, "b", 2)]
    assert cells[-1] == (2, 49, "b", 2)
