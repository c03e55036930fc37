"""How the gradient of one step's loss fades or grows on its way back through time.

The gradient of the loss L_T at step T with respect to the state h_{T-k} that step T-k hands on.
Where a step is h' = W h it is multiplied by W transposed k times, as in the power method: it goes
with |lambda_max|^k (Goodfellow et al., 2016, eq. 10.36 to 10.39; Pascanu et al., 2013).
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

from fastlstm.rnnlm.inspect.page import Section
from fastlstm.rnnlm.inspect.spectrum import recurrent_blocks, spectral_radius
from fastlstm.rnnlm.inspect.style import COLOURS
from fastlstm.rnnlm.inspect.subject import Subject
from fastlstm.rnnlm.inspect.trace import has_sizes
from fastlstm.rnnlm.model import RNNLM, make_model

STEPS, BATCH = 100, 16
SCALED = 1.5  # spectral radius of the RNN whose gradients grow


@dataclass(frozen=True)
class Curve:
    """Norms by the distance k, and the |lambda_max| to compare with where the cell has one W_hh."""

    name: str
    norms: Tensor
    radius: float | None


def view(subject: Subject) -> Section:
    """Gradient norms through time: of models that were not trained, and of the run."""
    section = Section("gradients", "Gradients through time")
    section.say(
        "Norm of the gradient of the loss at step T with respect to h, k steps earlier, mean over "
        f"{BATCH} pieces of text. Dotted: |λ_max|^k of the W_hh of a plain RNN. Left: models of "
        "the run's size before training. Right: the run, and others given with --beside."
    )
    tokens = subject.tokens(STEPS * BATCH + 1)
    trained = [_curve(subject.name, subject.model, tokens)]
    for run in subject.beside:
        trained.append(_curve(run.name, run.model, run.tokens(STEPS * BATCH + 1)))
    fresh = [_curve(name, model, tokens) for name, model in fresh_models(subject).items()]
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, curves, title in (
        (left, fresh, "before training"),
        (right, trained, "after training"),
    ):
        _draw(axes, curves)
        axes.set_title(title)
    left.set_ylabel("norm of ∂L(T)/∂h(T-k)")
    section.draw("gradients", figure)
    rows = [_row(curve) for curve in (*fresh, *trained)]
    section.table(("model", "|λ_max|", "k = 0", "k = 10", "k = 50", "last k"), rows)
    return section


def gradient_norms(model: RNNLM, inputs: Tensor, targets: Tensor) -> Tensor:
    """Norms [T] of the loss at the last step by the states k = 0..T-1 steps earlier.

    inputs [T, B], targets [B]: the tokens after the last step. The norm is over the h of all layers
    of one item, the mean over items.
    """
    training = model.training
    model.eval()
    state, handed = model.initial_state(inputs.shape[1]), []
    with torch.backends.cudnn.flags(enabled=False):  # whose RNNs have no gradient in eval mode
        for step in inputs:
            logits, state = model(step[None], tuple(part.requires_grad_() for part in state))
            handed.append(state[0])
        loss = F.cross_entropy(logits[-1], targets, reduction="sum")
        # the last state is handed to nobody: in its place the output that was decoded
        of_logits, *gradients = torch.autograd.grad(loss, [logits, *handed[-2::-1]])
        of_output = of_logits[-1] @ model.decoder.weight
    model.train(training)
    return torch.stack([_norm(part) for part in (of_output[None], *gradients)]).detach().cpu()


def fresh_models(subject: Subject) -> dict[str, RNNLM]:
    """Untrained models of the run's size: RNNs by their W_hh, LSTMs by their forget bias."""
    size, config = len(subject.run.vocabulary), subject.config
    device = subject.model.decoder.weight.device

    def make(**changes: Any) -> RNNLM:
        return make_model(size, replace(config, **changes), device)

    scaled = f"RNN, |λ_max| = {SCALED:g}"
    models = {
        "RNN": make(cell="rnn"),
        "orthogonal RNN": make(cell="rnn"),
        scaled: make(cell="rnn"),
        "LSTM, forget bias 0": make(cell="lstm", forget_bias=0.0),
        "LSTM, forget bias 1": make(cell="lstm", forget_bias=1.0),
    }
    for weight in _recurrent_weights(models["orthogonal RNN"]):
        nn.init.orthogonal_(weight)
    for weight in _recurrent_weights(models[scaled]):
        with torch.no_grad():
            weight.mul_(SCALED / spectral_radius(weight))
    return models


def _recurrent_weights(model: RNNLM) -> list[Tensor]:
    return [getattr(model.rnn, f"weight_hh_l{n}") for n in range(model.rnn.num_layers)]


def _norm(gradient: Tensor) -> Tensor:
    """Mean over the items of a gradient [L, B, H] of the norm of each one's."""
    norms: Tensor = gradient.transpose(0, 1).flatten(1).norm(dim=1)
    return norms.mean()


def _curve(name: str, model: RNNLM, tokens: Tensor) -> Curve:
    """The curve of a model on as many pieces as there are in tokens [N]."""
    if has_sizes(model) or model.config.softmax == "adaptive":
        raise ValueError(
            "gradients are drawn of layers of one size under a full softmax, not of a run with "
            "--softmax adaptive, or --tied with another --embedding than --hidden"
        )
    steps = min(STEPS, len(tokens) - 1)
    if steps < 2:
        raise ValueError("the text must have at least 3 tokens")
    items = min(BATCH, (len(tokens) - 1) // steps)
    tokens = tokens.to(model.decoder.weight.device)
    inputs = tokens[: steps * items].view(items, steps).t()
    targets = tokens[steps : steps * items + 1 : steps]
    blocks = [recurrent_blocks(model, layer) for layer in range(model.rnn.num_layers)]
    plain = all(len(block) == 1 for block in blocks)
    radius = max(spectral_radius(w) for block in blocks for w in block.values()) if plain else None
    return Curve(name, gradient_norms(model, inputs, targets), radius)


def _draw(axes: Axes, curves: list[Curve]) -> None:
    least = 1e-12  # below that float32 has little left to say
    for index, curve in enumerate(curves):
        colour, norms = COLOURS[index % len(COLOURS)], curve.norms.double()
        axes.semilogy(norms.where(norms > least, math.nan).numpy(), color=colour, label=curve.name)
        if curve.radius is not None:
            powers = norms[0] * curve.radius ** torch.arange(len(norms)).double()
            powers = powers[(powers > least) & (powers < norms.max() * 1e4)]
            axes.semilogy(powers.numpy(), ":", color=colour, linewidth=1.4)
    axes.set_ylim(bottom=least)
    axes.set_xlabel("k, steps back")
    axes.legend(loc="best")


def _row(curve: Curve) -> tuple[object, ...]:
    last = len(curve.norms) - 1
    # a short text has no step so far back
    norms = [float(curve.norms[k]) if k <= last else "" for k in (0, 10, 50, last)]
    return (curve.name, "" if curve.radius is None else curve.radius, *norms)
