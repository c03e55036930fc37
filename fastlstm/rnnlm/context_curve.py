"""Loss against context length: how far back a model looks.

The same target tokens, each predicted from the k tokens before it and a state of zero.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastlstm.rnnlm.kneser_ney import KneserNey
from fastlstm.rnnlm.model import RNNLM
from fastlstm.rnnlm.vocabulary import Tokens

TARGETS = 2000  # at most, evenly spaced over the text
BATCH = 250
WINDOW = 64
N_GRAMS = 5  # orders beside the curve


def curve_lengths(most: int) -> list[int]:
    """1, 2, 3, 4, then powers of two, and `most` itself."""
    doubled = [2**power for power in range(3, most.bit_length())]
    return [*(k for k in (1, 2, 3, 4, *doubled) if k < most), most]


def curve_targets(count: int, most: int) -> Tensor:
    """Places [M] in a text of `count` tokens that all have `most` tokens before them.

    The line end before the text counts as one of them. ValueError where there is none.
    """
    places = torch.arange(most - 1, count)
    if len(places) == 0:
        raise ValueError(f"--context must be at most the {count} tokens of the text, got {most}")
    picked = torch.linspace(0, len(places) - 1, min(TARGETS, len(places))).round().long()
    return places[picked]


@torch.no_grad()
def context_loss(model: RNNLM, tokens: Tensor, start: int, targets: Tensor, length: int) -> float:
    """Mean -ln p of the tokens at `targets` [M] of a text [N], from `length` tokens each."""
    model.eval()
    device = model.decoder.weight.device
    text = torch.cat([tokens.new_tensor([start]), tokens]).long()  # a target's place: one further
    undecoded = copy.copy(model)
    undecoded._modules = dict(model._modules) | {"decoder": nn.Identity()}
    total = 0.0
    for places in torch.split(targets, BATCH):
        inputs = (text[places + 1 - length + step] for step in range(length))
        x = torch.stack(list(inputs)).to(device)
        state = model.initial_state(len(places))
        for part in torch.split(x, WINDOW):
            y, state = undecoded(part, state)
        logits = model.decoder(y[-1])
        total += float(F.cross_entropy(logits, text[places + 1].to(device), reduction="sum"))
    return total / len(targets)


def n_gram_loss(
    train: Tokens, tokens: Tensor, size: int, start: int, targets: Tensor, length: int
) -> float:
    """The same of an n-gram model of `train`, whose window is those tokens and their target."""
    losses = KneserNey(train, size, start, length + 1).losses(tokens.numpy())
    return float(losses[targets.numpy()].mean())
