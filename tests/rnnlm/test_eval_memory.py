"""Dynamic evaluation, the neural cache and rescoring, against their equations written out."""

import io
import math
import sys

import pytest
import torch
from torch.nn import functional as F

from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.dynamic import EPSILON, Dynamic, dynamic_losses, root_mean_squares
from fastlstm.rnnlm.evaluation import token_losses
from fastlstm.rnnlm.model import make_model
from fastlstm.rnnlm.neural_cache import Cache, cache_losses
from fastlstm.rnnlm.rescoring import Candidate, log_probabilities, read_candidates

START = 3


@pytest.fixture
def model():
    return make_model(12, Config(hidden=8, layers=1, dropout_output=0.5), torch.device("cpu"))


@pytest.fixture
def tokens():
    torch.manual_seed(2)
    return torch.randint(12, (50,), dtype=torch.int32)


def snapshot(model):
    return {name: weight.clone() for name, weight in model.state_dict().items()}


@pytest.mark.parametrize("rule", ["sgd", "rms"])
def test_dynamic_evaluation_is_its_equations(model, tokens, rule):
    """Segments of 20, 20 and 10 tokens, by autograd in float64."""
    lr, decay = 0.3, 0.2
    roots = None
    if rule == "rms":
        lr, decay = 1e-3, 0.2
        roots = root_mean_squares(model, torch.randint(12, (3000,)), START, 20)
    before = snapshot(model)
    got = dynamic_losses(model, tokens, START, Dynamic(lr, decay, 20), roots)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    double = make_model(12, Config(hidden=8, layers=1, backend="reference"), torch.device("cpu"))
    double.load_state_dict(before)
    double = double.double()
    weights = list(double.parameters())
    trained = [weight.detach().clone() for weight in weights]
    if roots is not None:
        roots = [root.double() for root in roots]
        mean = torch.cat([root.flatten() for root in roots]).mean()
    text, state, expected = [START, *tokens.tolist()], double.initial_state(1), []
    for begin in (0, 20, 40):
        x = torch.tensor(text[begin : min(begin + 20, 50)])[:, None]
        target = tokens[begin : begin + 20].long()
        logits, state = double(x, state)
        losses = F.cross_entropy(logits[:, 0], target, reduction="none")
        expected.append(losses.detach())
        state = tuple(part.detach() for part in state)
        gradients = torch.autograd.grad(losses.mean(), weights)
        with torch.no_grad():
            for i, weight in enumerate(weights):
                scale = lr if roots is None else lr / (roots[i] + EPSILON)
                back = decay if roots is None else (decay * roots[i] / mean).clamp(max=1)
                weight += back * (trained[i] - weight) - scale * gradients[i]
    torch.testing.assert_close(got.double(), torch.cat(expected), rtol=1e-4, atol=1e-4)


def test_root_mean_squares_are_those_of_the_gradients(model):
    """One window of 60 streams would be left out: one of 50 streams x 20 tokens is read."""
    text = torch.randint(12, (1000,))
    roots = root_mean_squares(model, text, START, 20)
    x = torch.cat([torch.tensor([START]), text[:-1]]).view(50, 20).t()
    logits, _ = model.eval()(x, model.initial_state(50))
    loss = F.cross_entropy(logits.flatten(0, 1), text.view(50, 20).t().flatten())
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    for root, gradient in zip(roots, gradients, strict=True):
        torch.testing.assert_close(root, gradient.abs(), rtol=1e-4, atol=1e-7)


def test_dynamic_evaluation_at_rate_0_is_evaluation(model, tokens):
    expected = token_losses(model, tokens, START)
    got = dynamic_losses(model, tokens, START, Dynamic(0.0, 0.5, 7))
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_dynamic_evaluation_learns_a_repeated_text(model):
    text = torch.tensor([1, 5, 2, 8, 9] * 60)
    plain = token_losses(model, text, START).mean()
    dynamic = dynamic_losses(model, text, START, Dynamic(0.5, 0.0, 10))
    assert dynamic[-50:].mean() < plain * 0.6
    decayed = dynamic_losses(model, text, START, Dynamic(0.5, 0.5, 10))
    assert dynamic[-50:].mean() < decayed[-50:].mean() < plain


@pytest.mark.parametrize("size", [1, 4, 1000])
@pytest.mark.parametrize(("theta", "weight"), [(0.0, 0.3), (5.0, 0.6), (0.5, 0.0)])
def test_cache_is_its_equations(model, tokens, monkeypatch, size, theta, weight):
    monkeypatch.setattr("fastlstm.rnnlm.neural_cache.WINDOW", 7)
    got = cache_losses(model, tokens, START, Cache(size, theta, weight))
    text = [START, *tokens.tolist()]
    with torch.no_grad():
        model.eval()
        y, _ = model.rnn(model.embedding(torch.tensor(text))[:, None], model.initial_state(1))
        h, chances = y[:, 0].double(), torch.softmax(model.decoder(y[:, 0]).double(), 1)
    expected = []
    for t in range(50):
        pairs = range(max(0, t - size), t)
        parts = {i: math.exp(theta * float(h[t] @ h[i])) for i in pairs}
        own = float(chances[t, text[t + 1]])
        if parts:
            same = sum(part for i, part in parts.items() if text[i + 1] == text[t + 1])
            own = (1 - weight) * own + weight * same / sum(parts.values())
        expected.append(-math.log(own))
    torch.testing.assert_close(got, torch.tensor(expected), rtol=1e-4, atol=1e-4)


def test_memory_through_the_command(command, run, tmp_path):
    """A text of new letters over and over: both kinds of memory help."""
    (tmp_path / "other.txt").write_text("zzyx" * 200)
    plain = float(command("eval", run, tmp_path / "other.txt")[1].split("\n")[1].split()[0])
    for options in (
        ["--dynamic", 0.5],
        ["--dynamic", 1e-3, "--dynamic-rule", "rms", "--dynamic-decay", 0.01],
        ["--cache", 100, "--cache-lambda", 0.5],
    ):
        code, out, err = command("eval", run, tmp_path / "other.txt", *options)
        assert (code, err) == (0, ""), options
        assert float(out.split("\n")[1].split()[0]) < plain - 0.3, options


@pytest.mark.parametrize(
    "option",
    [
        "--dynamic -1", "--dynamic nan", "--dynamic-decay 2 --dynamic 1", "--cache 0",
        "--dynamic-segment 0 --dynamic 1", "--cache-theta -1 --cache 3", "--context 0",
        "--cache-lambda 1 --cache 3", "--dynamic 1 --cache 3", "--nbest-weight nan",
        "--dynamic-rule adam",
    ],
)  # fmt: skip
def test_wrong_option_of_eval(fails, run, option):
    assert option.split()[0] in fails("eval", run, *option.split())


def test_divergence_of_dynamic_evaluation(command, run):
    code, _, err = command("eval", run, "--dynamic", 3e38)
    assert code == 2
    assert "--dynamic 3e+38 is too large" in err


def test_candidates_of_a_file():
    data = "-1.5\tthe fox\nthe dog\r\nx\ty\n\n\n  \n7\tlast\nnan\tz\n"
    assert read_candidates(data) == [
        [Candidate("the fox", -1.5), Candidate("the dog\r", None), Candidate("x\ty", None)],
        [Candidate("last", 7.0), Candidate("nan\tz", None)],
    ]


def line_loss(command, run, text, folder):
    (folder / "line.txt").write_text(text + "\n", encoding="utf-8")
    out = command("eval", run, folder / "line.txt")[1]
    first, second = out.splitlines()[:2]
    return float(second.split()[0]) * int(first.split()[-2])


def test_rescored_lists_are_sorted_by_the_models_probability(command, run, tmp_path, monkeypatch):
    lines = ["the lazy dog", "dog lazy the brown fox", "xxx", "the quick brown fox jumps"]
    (tmp_path / "list.txt").write_text("\n".join(lines) + "\n\na b\nb a\n")
    code, out, err = command("eval", run, "--nbest", tmp_path / "list.txt")
    assert (code, err) == (0, "")
    first, second = out.rstrip("\n").split("\n\n")
    rows = [line.split("\t") for line in first.splitlines()]
    assert sorted(row[2] for row in rows) == sorted(lines)
    assert len(second.splitlines()) == 2
    totals = [float(row[0]) for row in rows]
    assert totals == sorted(totals, reverse=True)
    for total, nats, text in rows:
        assert total == nats
        assert -float(nats) == pytest.approx(line_loss(command, run, text, tmp_path), abs=2e-3)
    stdin = io.TextIOWrapper(io.BytesIO((tmp_path / "list.txt").read_bytes()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert command("eval", run, "--nbest", "-")[1] == out


def test_scores_of_a_list_are_added(command, run, tmp_path):
    (tmp_path / "list.txt").write_text("0\tthe lazy dog\n1000\tfox\n")
    out = command("eval", run, "--nbest", tmp_path / "list.txt", "--nbest-weight", 0.5)[1]
    rows = [line.split("\t") for line in out.splitlines()]
    assert [row[3] for row in rows] == ["fox", "the lazy dog"]
    for total, nats, score, _ in rows:
        assert float(total) == pytest.approx(float(score) + 0.5 * float(nats), abs=1e-3)


def test_batches_of_a_list_do_not_matter(model, monkeypatch):
    from fastlstm.rnnlm import rescoring
    from fastlstm.rnnlm.levels import CharVocabulary

    vocabulary = CharVocabulary("\nabcdefghij")
    texts = ["a" * n + "bcd"[: n % 4] for n in (3, 0, 40, 7, 7, 19)]
    expected = log_probabilities(model, vocabulary, texts)
    for limit in (1, 12 * 45):
        monkeypatch.setattr(rescoring, "LOGITS_MOST", limit)
        got = log_probabilities(model, vocabulary, texts)
        assert got == pytest.approx(expected, rel=1e-5)
