"""Gradients through time, spectra and costs by distance, each computed another way."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.france import generate_france
from fastlstm.rnnlm.france_words import ENGLISH
from fastlstm.rnnlm.inspect import gradients, spectrum
from fastlstm.rnnlm.inspect.distance import language_bits, optimum
from fastlstm.rnnlm.inspect.subject import Subject
from fastlstm.rnnlm.model import make_model
from fastlstm.rnnlm.runs import Run
from fastlstm.rnnlm.vocabularies import build_vocabulary

CPU = torch.device("cpu")


def model_of(cell="rnn", layers=1, **changes):
    config = Config(hidden=6, layers=layers, embedding=4, cell=cell, **changes)
    return make_model(9, config, CPU).double()


def subject_of(config, text=b"the quick fox"):
    vocabulary = build_vocabulary(config.level, [text], 1000)
    model = make_model(len(vocabulary), config, CPU)
    return Subject(Run(Path("runs/x"), config, vocabulary, "", ""), model, 0)


def pieces(items=3, steps=8):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 9, (steps, items), generator=generator)
    return inputs, torch.randint(0, 9, (items,), generator=generator)


def test_gradients_of_an_elman_cell_are_products_of_its_jacobians():
    """dL/dh(T-k) = prod W^T diag(1 - h^2) dL/dh(T): Goodfellow et al., eq. 10.36 and before."""
    model = model_of()
    inputs, targets = pieces()
    rnn, decoder = model.rnn, model.decoder
    w_hh = rnn.weight_hh_l0.detach().numpy()
    expected = np.zeros((len(inputs), inputs.shape[1]))
    for item in range(inputs.shape[1]):
        x = model.embedding(inputs[:, item : item + 1])
        h = rnn(x)[0][:, 0].detach()
        p = torch.softmax(decoder(h[-1]), 0).detach()
        p[targets[item]] -= 1
        g = (p @ decoder.weight.detach()).numpy()
        for k in range(len(inputs)):
            expected[k, item] = np.linalg.norm(g)
            g = w_hh.T @ ((1 - h[len(h) - 1 - k].numpy() ** 2) * g)
    got = gradients.gradient_norms(model, inputs, targets)
    assert got.numpy() == pytest.approx(expected.mean(1), rel=1e-9)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_gradients_are_those_of_a_nudge_to_the_state(cell):
    """By finite differences of the whole model, whatever the cell and however many layers."""
    model = model_of(cell, layers=2)
    inputs, targets = pieces(items=1)
    norms = gradients.gradient_norms(model, inputs, targets)
    back, step = 3, 1e-6
    with torch.no_grad():
        _, state = model(inputs[:-back], model.initial_state(1))

        def loss(h):
            logits, _ = model(inputs[-back:], (h, *state[1:]))
            return float(F.cross_entropy(logits[-1], targets))

        nudges = torch.eye(state[0].numel(), dtype=torch.float64).view(-1, *state[0].shape) * step
        slopes = [(loss(state[0] + d) - loss(state[0] - d)) / (2 * step) for d in nudges]
    assert float(norms[back]) == pytest.approx(math.hypot(*slopes), rel=1e-5)


def test_fresh_models_are_as_named():
    subject = subject_of(Config(hidden=24, layers=2, level="word"))
    models = gradients.fresh_models(subject)
    for layer in (0, 1):
        weight = getattr(models["orthogonal RNN"].rnn, f"weight_hh_l{layer}").detach()
        torch.testing.assert_close(weight @ weight.T, torch.eye(24), rtol=0, atol=1e-5)
        weight = getattr(models["RNN, |λ_max| = 1.5"].rnn, f"weight_hh_l{layer}")
        assert spectrum.spectral_radius(weight) == pytest.approx(1.5, rel=1e-5)
    for bias in (0, 1):
        assert models[f"LSTM, forget bias {bias}"].rnn.bias_ih_l0[24:48].tolist() == [bias] * 24


@pytest.mark.parametrize(("cell", "names"), [("lstm", "ifgo"), ("gru", "rzn"), ("rnn", "h")])
def test_spectra_are_numpys(cell, names):
    model = model_of(cell, layers=2)
    blocks = spectrum.recurrent_blocks(model, 1)
    assert "".join(blocks) == names
    whole = model.rnn.weight_hh_l1.detach().numpy()
    for index, weight in enumerate(blocks.values()):
        block = whole[6 * index : 6 * index + 6]
        assert spectrum.spectral_radius(weight) == pytest.approx(
            abs(np.linalg.eigvals(block)).max()
        )
        assert spectrum.largest_singular(weight) == pytest.approx(np.linalg.norm(block, 2))


def test_powers_grow_as_the_largest_eigenvalue():
    weight = torch.diag(torch.tensor([0.5, -1.25, 0.9])).double()
    norms = spectrum.powers(weight, 80)
    assert norms[0] == pytest.approx(1)
    assert float(norms[80] / norms[79]) == pytest.approx(1.25, rel=1e-9)


def test_optimum_is_the_sources():
    france = generate_france(20_000, 2.0)
    assert france.bits[france.is_far].mean() == pytest.approx(optimum(16), rel=0.03)


@pytest.mark.parametrize("level", ["word", "char", "byte"])
def test_cost_of_the_language_by_distance(level):
    """Each document read alone from a line end: the model forgets nothing of others here."""
    text = generate_france(40, 2.0, seed=3).text
    subject = subject_of(Config(hidden=8, layers=1, level=level, text="france"), text.encode())
    model, vocabulary = subject.model, subject.run.vocabulary
    with torch.no_grad():
        for name, weight in model.rnn.named_parameters():
            if "weight_hh" in name:
                weight.zero_()
            if "bias_ih" in name:
                weight[8:16] = -100.0  # every forget gate shut: a token's cost is its predecessor's
    expected = {}
    for line in text.splitlines(keepends=True):
        words = line.split()
        tokens = torch.from_numpy(vocabulary.encode(line.encode())).long()
        with torch.no_grad():
            before = torch.cat([torch.tensor([vocabulary.start]), tokens[:-1]])
            logits, _ = model(before[:, None], model.initial_state(1))
        bits = F.cross_entropy(logits[:, 0], tokens, reduction="none") / math.log(2)
        if level == "word":
            cost = float(bits[len(words) - 2])
        else:
            start = line.rindex("fluent ") + len("fluent ")
            cost = float(bits[start : start + len(words[-2])].sum())
        assert words[-2] in ENGLISH.languages.values()
        assert words[4] in ENGLISH.languages
        expected.setdefault((len(words) - 11) // 5, []).append(cost)
    got = language_bits(subject, text)
    assert got.keys() == expected.keys()
    for distance, costs in expected.items():
        assert got[distance] == pytest.approx(costs, rel=1e-4)


def test_view_of_another_text_says_why_not():
    from fastlstm.rnnlm.inspect import distance

    subject = subject_of(Config(hidden=8, layers=1, level="word"))
    with pytest.raises(ValueError, match="was not trained on france"):
        distance.view(subject)
    france = subject_of(replace(subject.config, text="france"))
    with pytest.raises(ValueError, match="was not trained on france"):
        distance.view(replace(france, beside=(subject,)))
