"""Beam search against the best of all continuations, counted out."""

import itertools

import pytest
import torch

from fastlstm.rnnlm.beam import search_beam
from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.generation import generate_tokens
from fastlstm.rnnlm.model import make_model

PROMPT = [0, 3]


@pytest.fixture
def model():
    model = make_model(5, Config(hidden=8, layers=2, seed=4), torch.device("cpu"))
    with torch.no_grad():
        model.decoder.weight.mul_(8)  # peaked, so that beams part
    return model.eval()


def log_probability(model, tokens):
    with torch.no_grad():
        logits, _ = model(torch.tensor([*PROMPT, *tokens])[:, None], model.initial_state(1))
    losses = torch.log_softmax(logits[len(PROMPT) - 1 : -1, 0].double(), -1)
    return float(losses.gather(1, torch.tensor(tokens)[:, None]).sum())


def never_ends(tokens):
    return False


def test_a_beam_as_wide_as_the_tree_finds_the_best(model):
    every = [(log_probability(model, t), t) for t in itertools.product(range(5), repeat=4)]
    every.sort(reverse=True)
    found = search_beam(model, PROMPT, 125, 4, never_ends)
    assert [tuple(h.tokens) for h in found[:20]] == [tokens for _, tokens in every[:20]]
    for hypothesis, (right, _) in zip(found, every, strict=False):
        assert hypothesis.log_probability == pytest.approx(right, abs=1e-5)


def test_a_beam_of_one_takes_the_likeliest(model):
    (only,) = search_beam(model, PROMPT, 1, 9, never_ends)
    assert only.tokens == list(itertools.islice(generate_tokens(model, [3], 0, 0.0, 1), 9))


def test_ended_continuations_are_the_best_of_all(model):
    """Those that end with token 2, and those of full length."""

    def ends(tokens):
        return tokens[-1] == 2

    whole = list(itertools.product([0, 1, 3, 4], repeat=3))
    every = [(*t[:n], 2) for n in range(3) for t in {w[:n] for w in whole}]
    every += [t for t in itertools.product(range(5), repeat=3) if 2 not in t]
    scored = sorted(((log_probability(model, t), t) for t in set(every)), reverse=True)
    found = search_beam(model, PROMPT, 60, 3, ends)
    assert [tuple(h.tokens) for h in found[:15]] == [tokens for _, tokens in scored[:15]]


def test_a_token_that_is_never_chosen(model):
    found = search_beam(model, PROMPT, 3, 6, never_ends, never=1)
    assert all(1 not in hypothesis.tokens for hypothesis in found)


def test_logits_that_are_not_finite(model):
    with torch.no_grad():
        model.decoder.bias[0] = float("nan")
    with pytest.raises(RuntimeError, match="not finite"):
        search_beam(model, PROMPT, 2, 3, never_ends)
