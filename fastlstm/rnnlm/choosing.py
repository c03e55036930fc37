"""How the next token is chosen from the logits: temperature, top-k, top-p."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Choice:
    """Which tokens may be chosen, and how freely.

    temperature: divides the logits before the softmax; 1 samples what the model believes, less
        prefers the likely, 0 always takes the likeliest.
    top_k: only the k likeliest tokens (and those as likely as the k-th); None: all.
    top_p: only the fewest likeliest tokens that together have at least this probability, at the
        temperature, among the top k ("nucleus", Holtzman et al., 2020); None: all.
    never: a token that is never chosen, such as `<unk>`.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    never: int | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(f"--temperature must be at least 0, got {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"--top-k must be at least 1, got {self.top_k}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"--top-p must be above 0 and at most 1, got {self.top_p}")


def choose(logits: Tensor, uniform: Tensor, choice: Choice) -> Tensor:
    """A token for each row of logits [B, V]: int64 [B].

    uniform [B]: float64, in [0, 1); it decides which token is drawn (inverse of the cumulated
    probabilities), so that one seed gives the same text on every device. Logits that are not finite
    give the token V, which is none. No value is fetched from the device.
    """
    if choice.never is not None:
        logits = logits.clone()
        logits[:, choice.never] = -math.inf
    if choice.temperature == 0:
        highest, token = logits.max(dim=-1)
        return torch.where(highest.isfinite(), token, logits.shape[-1])
    cumulated = probabilities(logits, choice).cumsum(dim=-1)
    threshold = uniform[:, None] * cumulated[:, -1:]
    return torch.searchsorted(cumulated, threshold, right=True)[:, 0]


def probabilities(logits: Tensor, choice: Choice) -> Tensor:
    """What is drawn from, float64 [B, V]: the softmax, zero where a token may not be chosen.

    The rows need not sum to 1 with top-p.
    """
    logits = logits.double()
    if choice.temperature != 1:
        # less the highest, so that a tiny temperature cannot overflow
        logits = (logits - logits.amax(dim=-1, keepdim=True)) / choice.temperature
    if choice.top_k is not None and choice.top_k < logits.shape[-1]:
        least = logits.topk(choice.top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < least, -math.inf)
    chances = torch.softmax(logits, dim=-1)
    if choice.top_p is None or choice.top_p == 1:
        return chances
    ranked, order = chances.sort(dim=-1, descending=True, stable=True)
    # a token stays while those before it have less than top_p: the likeliest always does
    ranked = ranked.masked_fill(ranked.cumsum(dim=-1) - ranked >= choice.top_p, 0)
    return torch.zeros_like(chances).scatter(-1, order, ranked)
