"""Backpropagation through one window."""

from contextlib import AbstractContextManager

import torch
import torch.distributed as dist
from torch import Tensor

from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.distributed import processes
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


def average_gradients(model: RNNLM, loss: Tensor) -> Tensor:
    """Make the gradients of this process's streams those of the whole batch; returns its loss.

    Each process has as many streams, so that the mean over the batch is the mean of their means.

    One reduction of one flat tensor. DistributedDataParallel puts the gradients into another order
    after its first step. From three processes on that is another order of summation too, and a
    resumed run would not be bit-equal. Nor is there much to overlap: all recurrent weights have
    their gradients at the very end.
    """
    count = processes()
    if count == 1:
        return loss
    weights = list(model.parameters())
    # an adaptive softmax leaves out the weights of tokens that do not occur
    used = loss.new_tensor([weight.grad is not None for weight in weights])
    parts = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
    flat = torch.cat([*(part.reshape(-1) for part in parts), used, loss.reshape(1)])
    dist.all_reduce(flat)
    flat /= count
    sizes = [*(part.numel() for part in parts), len(weights), 1]
    *parts, used, mean = torch.split(flat, sizes)
    for weight, part, share in zip(weights, parts, used.tolist(), strict=True):
        weight.grad = part.view_as(weight) if share else None
    return mean.squeeze()


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
