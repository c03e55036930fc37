"""Dynamic evaluation: a model that goes on learning from the text it is measured on.

Krause et al. (2018). The text is read in segments s_1, s_2, ... Each is paid for with the weights
w_(i-1) that the segments before it have made of the trained w_0, and only then learnt from:

    sgd:  w_i = w_(i-1) - lr g_i + decay (w_0 - w_(i-1))
    rms:  w_i = w_(i-1) - lr g_i / (r + EPSILON) + min(decay r / mean(r), 1) (w_0 - w_(i-1))

g_i is the gradient of the mean loss of s_i with respect to w_(i-1), cut at the segment's start, and
r the root of the mean squared gradient of each weight over the training text.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fastlstm.rnnlm.dataset import Streams
from fastlstm.rnnlm.model import RNNLM

EPSILON = 1e-5
STATISTICS = 200  # windows of the training text that the mean squared gradient is taken over
STATISTICS_BATCH = 50


@dataclass(frozen=True)
class Dynamic:
    """The rule: learning rate, decay to the trained weights, tokens in a segment."""

    lr: float
    decay: float = 0.0
    segment: int = 20

    def __post_init__(self) -> None:
        if not 0 <= self.lr < float("inf"):
            raise ValueError(f"--dynamic must be at least 0, got {self.lr}")
        if not 0 <= self.decay <= 1:
            raise ValueError(f"--dynamic-decay must be from 0 to 1, got {self.decay}")
        if self.segment < 1:
            raise ValueError(f"--dynamic-segment must be at least 1, got {self.segment}")


def root_mean_squares(model: RNNLM, tokens: Tensor, start: int, segment: int) -> list[Tensor]:
    """R of each parameter: over windows of `segment` tokens spread over a training text [N]."""
    batch = max(1, min(STATISTICS_BATCH, len(tokens) // segment))
    streams = Streams(tokens, start, batch, min(segment, len(tokens)))
    stride = max(1, len(streams) // STATISTICS)
    squares = [torch.zeros_like(weight) for weight in model.parameters()]
    indices = range(0, len(streams), stride)
    state = model.initial_state(batch)
    with _fixed_mode(model):
        for index in indices:
            x, target = _to(model, *streams[index])
            model.zero_grad(set_to_none=True)
            loss, _, state = model.loss(x, target, state)
            loss.backward()  # type: ignore[no-untyped-call]
            state = tuple(part.detach() for part in state)
            for square, gradient in zip(squares, _gradients(model), strict=True):
                square.addcmul_(gradient, gradient)
    return [(square / len(indices)).sqrt() for square in squares]


def dynamic_losses(
    model: RNNLM, tokens: Tensor, start: int, rule: Dynamic, roots: list[Tensor] | None = None
) -> Tensor:
    """-ln p of each of the tokens [N] after `start`: float32 [N]; the model is left as it was.

    roots: r of each parameter, for the rule `rms`; None: `sgd`.
    """
    trained = [weight.detach().clone() for weight in model.parameters()]
    update = _update(model, trained, rule, roots)
    inputs = torch.cat([tokens.new_tensor([start]), tokens[:-1]]).long()
    targets, state = tokens.long(), model.initial_state(1)
    losses = torch.empty(len(tokens))  # one tensor for all: see evaluation.py
    try:
        with _fixed_mode(model):
            for begin in range(0, len(tokens), rule.segment):
                at = slice(begin, begin + rule.segment)
                x, target = _to(model, inputs[at, None], targets[at])
                model.zero_grad(set_to_none=True)
                logits, state = model(x, state)
                own = F.cross_entropy(logits[:, 0], target, reduction="none")
                own.mean().backward()  # type: ignore[no-untyped-call]
                losses[at] = own.detach()
                state = tuple(part.detach() for part in state)
                update()
    finally:
        with torch.no_grad():
            for weight, value in zip(model.parameters(), trained, strict=True):
                weight.copy_(value)
        model.zero_grad(set_to_none=True)
    return losses


def _update(
    model: RNNLM, trained: list[Tensor], rule: Dynamic, roots: list[Tensor] | None
) -> Callable[[], None]:
    """What changes the weights after a segment."""
    weights = list(model.parameters())
    decays: list[Tensor | float] = [rule.decay] * len(weights)
    scales: list[Tensor | float] = [rule.lr] * len(weights)
    if roots is not None:
        count = sum(root.numel() for root in roots)
        mean = float(sum(float(root.double().sum()) for root in roots)) / count
        decays = [(rule.decay * root / mean).clamp(max=1) for root in roots]
        scales = [rule.lr / (root + EPSILON) for root in roots]

    @torch.no_grad()
    def update() -> None:
        for weight, gradient, start, decay, scale in zip(
            weights, _gradients(model), trained, decays, scales, strict=True
        ):
            step = decay * (start - weight) - scale * gradient
            weight.add_(step)

    return update


def _gradients(model: RNNLM) -> list[Tensor]:
    """Of all parameters; zero for one that the loss does not depend on."""
    return [
        torch.zeros_like(weight) if weight.grad is None else weight.grad
        for weight in model.parameters()
    ]


def _to(model: RNNLM, *tensors: Tensor) -> tuple[Tensor, ...]:
    device = model.decoder.weight.device
    return tuple(tensor.to(device) for tensor in tensors)


@contextmanager
def _fixed_mode(model: RNNLM) -> Iterator[None]:
    """No dropout, but gradients: cuDNN's layers have none in that mode, torch's own have."""
    training = model.training
    model.eval()
    with torch.backends.cudnn.flags(enabled=False):
        yield
    model.train(training)
