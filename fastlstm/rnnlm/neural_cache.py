"""A neural cache: what was read before under a similar state is expected again.

Grave et al. (2017). h_i is the vector that the decoder sees after token x_i; the cache holds the
last N pairs (h_i, x_(i+1)). For the token after x_t

    p_cache(w) = sum of exp(theta h_t . h_i) over the pairs with x_(i+1) = w
                 / the same sum over all pairs
    p(w) = (1 - lambda) p_model(w) + lambda p_cache(w)

Nothing is learnt: theta (how flat, 0: counts alone) and lambda are chosen on a validation text.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fastlstm.rnnlm.evaluation import LOGITS_MOST, WINDOW
from fastlstm.rnnlm.model import RNNLM


@dataclass(frozen=True)
class Cache:
    """N pairs, theta and lambda."""

    size: int
    theta: float = 0.3
    weight: float = 0.1

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"--cache must be at least 1, got {self.size}")
        if not 0 <= self.theta < float("inf"):
            raise ValueError(f"--cache-theta must be at least 0, got {self.theta}")
        if not 0 <= self.weight < 1:
            raise ValueError(f"--cache-lambda must be at least 0 and below 1, got {self.weight}")


@torch.no_grad()
def cache_losses(model: RNNLM, tokens: Tensor, start: int, cache: Cache) -> Tensor:
    """-ln p of each of the tokens [N] after `start`, read in one stream: float32 [N]."""
    model.eval()
    device = model.decoder.weight.device
    inputs = torch.cat([tokens.new_tensor([start]), tokens[:-1]])
    window = max(1, min(WINDOW, LOGITS_MOST // model.decoder.out_features))
    state = model.initial_state(1)
    losses = torch.empty(len(tokens))  # one tensor for all: see evaluation.py
    keys = words = None
    with _decoder_inputs(model) as seen:
        for begin in range(0, len(tokens), window):
            x = inputs[begin : begin + window].to(device).long()
            target = tokens[begin : begin + window].to(device).long()
            logits, state = model(x[:, None], state)
            h = seen.pop()[:, 0]
            own = torch.log_softmax(logits[:, 0], -1).gather(1, target[:, None])[:, 0].exp()
            keys = h if keys is None else torch.cat([keys, h])
            words = target if words is None else torch.cat([words, target])
            cached, known = _cache_probability(h, target, keys, words, cache)
            mixed = torch.where(known, (1 - cache.weight) * own + cache.weight * cached, own)
            losses[begin : begin + window] = -mixed.log()
            keys, words = keys[-cache.size :], words[-cache.size :]
    return losses


def _cache_probability(
    h: Tensor, target: Tensor, keys: Tensor, words: Tensor, cache: Cache
) -> tuple[Tensor, Tensor]:
    """p_cache [T] of target [T], and whether there was a pair at all [T].

    h [T, H]; keys [M, H] and words [M]: the pairs, of which the last T are of h itself.
    """
    at = torch.arange(len(keys), device=h.device)
    own = at[-len(h) :, None]  # the place of each h among the keys
    before = (at < own) & (at >= own - cache.size)
    scores = (cache.theta * h @ keys.t()).masked_fill(~before, -torch.inf)
    known = before.any(dim=1)
    shares = torch.softmax(scores.masked_fill(~known[:, None], 0), dim=1)
    return (shares * (words == target[:, None])).sum(dim=1), known


@contextmanager
def _decoder_inputs(model: RNNLM) -> Iterator[list[Tensor]]:
    """Collects what the decoder is given, [T, B, H] for each call of the model."""
    seen: list[Tensor] = []

    def collect(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        seen.append(given[0])

    hook = model.decoder.register_forward_pre_hook(collect)
    try:
        yield seen
    finally:
        hook.remove()
