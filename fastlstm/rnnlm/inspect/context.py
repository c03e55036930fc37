"""Loss by how many tokens before it a token is predicted from: a state beside fixed windows."""

import math

from matplotlib.figure import Figure
from torch import Tensor

from fastlstm.rnnlm.context_curve import (
    N_GRAMS,
    context_loss,
    curve_lengths,
    curve_targets,
    n_gram_loss,
)
from fastlstm.rnnlm.evaluation import token_losses
from fastlstm.rnnlm.inspect.page import Section
from fastlstm.rnnlm.inspect.style import COLOURS, GREY
from fastlstm.rnnlm.inspect.subject import Subject
from fastlstm.rnnlm.yardsticks import last_tokens

MOST, TOKENS = 64, 100_000

Curve = dict[int, float]


def view(subject: Subject) -> Section:
    """Nats per token by the length of the context: each run, and n-grams of its training part."""
    runs = (subject, *subject.beside)
    own = subject.run.vocabulary.to_json()
    for run in subject.beside:
        if run.run.vocabulary.to_json() != own:
            raise ValueError(f"{run.run.path} must have the vocabulary of {subject.run.path}")
    tokens = subject.tokens(TOKENS)
    most = min(MOST, len(tokens))
    targets, lengths = curve_targets(len(tokens), most), curve_lengths(most)
    section = Section("context", "Loss by the length of the context")
    section.say(
        f"What {len(targets):,} tokens cost when each is predicted from so many tokens before it, "
        "and nothing else. An n-gram has a fixed window: a longer context is no use to it. Dashed: "
        "the model's state after all of the text before."
    )
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    rows: list[tuple[object, ...]] = []
    for index, run in enumerate(runs):
        colour = COLOURS[index % len(COLOURS)]
        curve, whole = _model_curve(run, tokens, targets, lengths)
        axes.axhline(whole, color=colour, linestyle="--", linewidth=0.9)
        axes.plot(*_points(curve), "o-", markersize=4, color=colour, label=run.name)
        rows += [*_rows(run.name, curve), (run.name, "all", whole, math.exp(whole))]
    if subject.dataset is None:
        section.note(f"no n-grams: {subject.no_dataset}")
    else:
        curve = _n_gram_curve(subject, tokens, targets, lengths)
        axes.plot(*_points(curve), "s-", markersize=4, color=GREY, label="n-gram")
        rows += _rows("n-gram", curve)
    axes.set_xscale("log", base=2)
    axes.set_xticks(lengths, [str(length) for length in lengths])
    axes.set(xlabel="tokens before", ylabel="nats per token")
    axes.legend()
    section.draw("context", figure)
    section.table(("model", "tokens before", "nats/token", "perplexity"), rows)
    return section


def _model_curve(
    run: Subject, tokens: Tensor, targets: Tensor, lengths: list[int]
) -> tuple[Curve, float]:
    """The losses by length of a model, and its loss after the whole text before."""
    start = run.run.vocabulary.start
    curve = {k: context_loss(run.model, tokens, start, targets, k) for k in lengths}
    return curve, float(token_losses(run.model, tokens, start).double()[targets].mean())


def _n_gram_curve(subject: Subject, tokens: Tensor, targets: Tensor, lengths: list[int]) -> Curve:
    """The losses of Kneser-Ney models of 2 to 5 tokens, by what they see before the last one."""
    train = last_tokens(subject.validation().train)
    vocabulary = subject.run.vocabulary
    sizes = len(vocabulary), vocabulary.start
    within = [k for k in lengths if k < N_GRAMS]
    return {k: n_gram_loss(train, tokens, *sizes, targets, k) for k in within}


def _rows(name: str, curve: Curve) -> list[tuple[object, ...]]:
    return [(name, k, loss, math.exp(loss)) for k, loss in curve.items()]


def _points(curve: Curve) -> tuple[list[int], list[float]]:
    return list(curve), list(curve.values())
