"""Backpropagation through one window."""

from contextlib import AbstractContextManager

import torch
from torch import Tensor

from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.model import RNNLM, State


def compute_gradients(
    model: RNNLM, inputs: Tensor, targets: Tensor, state: State
) -> tuple[Tensor, State]:
    """Backpropagate one window; returns its loss (mean nats per token) and the state after it.

    inputs [T, B], targets [T * B]. The gradient stops at the window's start: truncated BPTT
    (Williams and Peng, 1990), while the state itself goes on to the next window.
    """
    model.zero_grad(set_to_none=True)
    parts = min(model.config.accumulate, inputs.shape[1])
    if parts == 1:
        return _backward(model, inputs, targets, state, 1.0)
    losses, states = [], []
    columns = targets.view(inputs.shape).chunk(parts, 1)
    rows = zip(*(part.chunk(parts, 1) for part in state), strict=True)
    for x, wanted, before in zip(inputs.chunk(parts, 1), columns, rows, strict=True):
        share = x.shape[1] / inputs.shape[1]
        before = tuple(part.contiguous() for part in before)
        loss, after = _backward(model, x, wanted.reshape(-1), before, share)
        losses.append(loss * share)
        states.append(after)
    loss = torch.stack(losses).sum()
    return loss, tuple(torch.cat(part, 1) for part in zip(*states, strict=True))


def _backward(
    model: RNNLM, inputs: Tensor, targets: Tensor, state: State, share: float
) -> tuple[Tensor, State]:
    """Add `share` of a batch's gradient to what is there; the loss and the state after it."""
    with autocast(model.config, inputs.device):
        loss, penalty, after = model.loss(inputs, targets, state)
    wanted = loss if penalty is None else loss + penalty
    factor = share * (inputs.shape[0] if model.config.loss == "sum" else 1)
    (wanted if factor == 1 else wanted * factor).backward()  # type: ignore[no-untyped-call]
    return loss.detach(), tuple(
        part.detach().to(before.dtype) for part, before in zip(after, state, strict=True)
    )


def autocast(config: Config, device: torch.device) -> AbstractContextManager[None]:
    """What --precision asks for."""
    return torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16")
