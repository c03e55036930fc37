"""Exact evaluation: the loss of every token of a text, none left out, with the state carried."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fastlstm.rnnlm.dataset import Text
from fastlstm.rnnlm.model import RNNLM, State

STREAMS = 32  # at most; read side by side, for speed
STREAM_LEAST = 1024  # tokens a stream must have to be worth its warm-up
WARM_UP = 256  # tokens before a stream that fill its state and are not counted
WINDOW = 256
LOGITS_MOST = 2**22  # elements of the largest tensor made here: 16 MB


@dataclass(frozen=True)
class Score:
    """The cost of a text: mean nats per token, over `tokens` tokens of `characters` characters.

    byte_count: of the raw text; 0 where it is not known.
    """

    nats: float
    tokens: int
    characters: int
    byte_count: int = 0

    @property
    def perplexity(self) -> float:
        """exp of the loss: as undecided as among so many equally likely tokens."""
        return math.exp(min(self.nats, 700.0))

    @property
    def bits_per_character(self) -> float:
        """Bits per character of the raw text (per byte at the byte level), not per token."""
        return self.nats * self.tokens / self.characters / math.log(2)

    @property
    def bits_per_byte(self) -> float | None:
        """Bits per byte of the raw text, None where its bytes are not known."""
        if not self.byte_count:
            return None
        return self.nats * self.tokens / self.byte_count / math.log(2)


def evaluate(model: RNNLM, text: Text, start: int) -> Score:
    """The score of a whole text that follows the token `start`."""
    losses = token_losses(model, text.tokens, start)
    return score_of(losses, text)


def score_of(losses: Tensor, text: Text) -> Score:
    """The score of a text, for the losses [N] of its tokens."""
    mean = float(losses.double().mean())
    return Score(mean, len(losses), text.characters, text.byte_count)


@torch.no_grad()
def token_losses(model: RNNLM, tokens: Tensor, start: int) -> Tensor:
    """-ln p of each token given those before it: float32 [N] on the CPU, for tokens [N].

    The text is read in parallel streams. Each but the first is warmed up on the tokens before its
    own, uncounted, so that it starts with the state of one long reading, up to what the model
    remembers beyond `WARM_UP` tokens. What is left by the division into streams is read at the end.
    """
    training = model.training
    model.eval()
    device = model.decoder.weight.device
    inputs = torch.cat([tokens.new_tensor([start]), tokens[:-1]]).to(device)
    targets = tokens.to(device)
    count = len(tokens)
    streams = max(1, min(STREAMS, count // STREAM_LEAST))
    length = count // streams
    even = streams * length
    state = _warm_state(model, inputs, streams, length)
    losses, state = _read(
        model, inputs[:even].view(streams, length), targets[:even].view(streams, length), state
    )
    parts = [losses.reshape(-1)]
    if even < count:
        last = tuple(part[:, -1:].contiguous() for part in state)
        rest, _ = _read(model, inputs[None, even:], targets[None, even:], last)
        parts.append(rest.reshape(-1))
    model.train(training)
    return torch.cat(parts).cpu()


def _warm_state(model: RNNLM, inputs: Tensor, streams: int, length: int) -> State:
    """States [L, B, H] at the start of each stream: zero for the first one, warmed up elsewhere."""
    state = model.initial_state(streams)
    if streams == 1:
        return state
    before = torch.stack([inputs[b * length - WARM_UP : b * length] for b in range(1, streams)])
    warm = model.advance(before.t().to(torch.int64), model.initial_state(streams - 1))
    return tuple(
        torch.cat([zero[:, :1], part], dim=1) for zero, part in zip(state, warm, strict=True)
    )


def _read(model: RNNLM, inputs: Tensor, targets: Tensor, state: State) -> tuple[Tensor, State]:
    """Losses [B, S] of targets [B, S] after inputs [B, S], and the states after them."""
    streams, length = inputs.shape
    per_step = streams * model.decoder.out_features
    window = max(1, min(WINDOW, LOGITS_MOST // per_step))
    # One tensor for all: small ones that are kept would each lie where a window's logits were, and
    # the next window, for which the rest of that is too small, would take new memory.
    losses = torch.empty(targets.shape, dtype=torch.float32, device=targets.device)
    for begin in range(0, length, window):
        x = inputs[:, begin : begin + window].t().to(torch.int64)
        target = targets[:, begin : begin + window].t().to(torch.int64)
        logits, state = model(x, state)
        loss = F.cross_entropy(logits.flatten(0, 1), target.reshape(-1), reduction="none")
        losses[:, begin : begin + window] = loss.view(target.shape).t()
    return losses, state
