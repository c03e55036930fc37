"""Beam search: the likeliest continuation, as far as keeping the best few at each step finds it.

K beams, V vocabulary size.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from fastlstm.rnnlm.model import RNNLM
from fastlstm.rnnlm.stepping import make_steps, read_prompt, repeat_state


@dataclass(frozen=True)
class Hypothesis:
    """A continuation: its tokens and the log probability of all of them, in nats."""

    tokens: list[int]
    log_probability: float


def search_beam(
    model: RNNLM,
    prompt: list[int],
    width: int,
    length: int,
    is_end: Callable[[list[int]], bool],
    never: int | None = None,
) -> list[Hypothesis]:
    """The best `width` continuations of a prompt, the likeliest first.

    A continuation ends after `length` tokens, or where `is_end(tokens)`; those compared may be of
    different lengths, and their log probabilities are not divided by them.
    never: a token that is never chosen, such as `<unk>`.
    RuntimeError where the model's logits are not finite.
    """
    logits, state = read_prompt(model, prompt)
    steps = make_steps(model, repeat_state(state, width))
    logits = logits.expand(width, -1)
    # at first all beams are the same one: only one of them may go on
    scores = torch.full((width,), -math.inf, dtype=torch.float64)
    scores[0] = 0
    beams: list[list[int]] = [[] for _ in range(width)]
    ended: list[Hypothesis] = []
    while True:
        total = scores[:, None] + torch.log_softmax(logits.double(), dim=-1).cpu()
        if total.isnan().any():
            raise RuntimeError("the model's logits are not finite: it cannot be sampled from")
        if never is not None:
            total[:, never] = -math.inf
        scores, best = total.flatten().topk(width)
        rows, tokens = best // total.shape[1], best % total.shape[1]
        pairs = zip(rows.tolist(), tokens.tolist(), strict=True)
        beams = [[*beams[row], token] for row, token in pairs]
        for index, beam in enumerate(beams):
            if scores[index] > -math.inf and (len(beam) == length or is_end(beam)):
                ended.append(Hypothesis(beam, float(scores[index])))
                scores[index] = -math.inf
        ended = sorted(ended, key=lambda hypothesis: -hypothesis.log_probability)[:width]
        # a continuation only ever loses probability
        if len(ended) == width and ended[-1].log_probability >= scores.max():
            return ended
        if scores.max() == -math.inf:
            return ended
        steps.select(rows.to(logits.device))
        logits = steps.step(tokens.to(logits.device))
