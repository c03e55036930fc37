"""What temperature, top-k and top-p let through, against distributions worked out by hand."""

import math

import pytest
import torch

from fastlstm.rnnlm.choosing import Choice, choose, probabilities

LOGITS = torch.tensor([[0.1, 0.4, 0.2, 0.3]]).log()


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (Choice(), [0.1, 0.4, 0.2, 0.3]),
        (Choice(temperature=0.5), [0.01, 0.16, 0.04, 0.09]),  # squares
        (Choice(temperature=2.0), [0.1**0.5, 0.4**0.5, 0.2**0.5, 0.3**0.5]),
        (Choice(top_k=2), [0, 0.4, 0, 0.3]),
        (Choice(top_k=9), [0.1, 0.4, 0.2, 0.3]),
        (Choice(top_p=0.69), [0, 0.4, 0, 0.3]),
        (Choice(top_p=0.71), [0, 0.4, 0.2, 0.3]),
        (Choice(top_p=1e-9), [0, 1, 0, 0]),
        (Choice(top_p=1.0), [0.1, 0.4, 0.2, 0.3]),
        # of the top 3, which have 4/9, 3/9 and 2/9, two have more than .7
        (Choice(top_k=3, top_p=0.7), [0, 0.4, 0, 0.3]),
    ],
    ids=str,
)
def test_probabilities_by_hand(choice, expected):
    got = probabilities(LOGITS, choice)[0]
    right = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(got / got.sum(), right / right.sum(), rtol=1e-6, atol=1e-9)


def test_tokens_lie_where_the_uniform_number_falls():
    numbers = [0.0, 0.0999, 0.1001, 0.4999, 0.5001, 0.6999, 0.7001, 1 - 1e-12]
    rows = torch.tensor(numbers, dtype=torch.float64)
    tokens = choose(LOGITS.expand(8, -1), rows, Choice())
    assert tokens.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("uniform", [0.0, 0.5, 1 - 2**-53])
def test_a_token_without_probability_is_never_chosen(uniform):
    for choice, allowed in ((Choice(top_k=1), {1}), (Choice(never=3), {0, 1, 2})):
        token = choose(LOGITS, torch.tensor([uniform], dtype=torch.float64), choice)
        assert set(token.tolist()) <= allowed
    assert choose(LOGITS, torch.tensor([0.5]), Choice(temperature=0, never=1)).tolist() == [3]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize(
    "choice", [Choice(), Choice(0.0), Choice(0.7), Choice(top_p=0.9), Choice(top_k=2)], ids=str
)
def test_logits_that_are_not_finite_give_no_token(bad, choice):
    logits = torch.stack([LOGITS[0], torch.tensor([0.0, bad, 0.0, 0.0])])
    tokens = choose(logits, torch.tensor([0.5, 0.5], dtype=torch.float64), choice).tolist()
    assert tokens[0] < 4
    assert tokens[1] == 4
