"""Softmax and cross entropy of a linear decoder that never hold the logits of all rows.

N rows, H features, V vocabulary size. The gradient is computed in the forward pass, chunk by chunk
of rows: what is kept of N x V logits is dx [N, H] and the decoder's own gradient [V, H].
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

# On a CPU of 2.6 GHz, one thread, against F.cross_entropy on all logits (rows x V, H): 1.2 to 1.3x
# at 400 x 10,000, 200; 1.0x at 700 x 10,000, 650; 1.2x at 700 x 33,278, 200; 0.9x at 6400 x 256,
# 1024. Below `PAYS` the logits are in the cache anyhow; smaller chunks lose, as each adds to all of
# [V, H].
CHUNK = 2**21  # logits at a time: 8 MB
PAYS = 2**21  # logits from which on it is taken
ROWS = 32  # at least, in a chunk


def pays(rows: Tensor, weight: Tensor) -> bool:
    """Whether the logits of these rows are so many that chunks are worth it."""
    size, features = weight.shape
    return torch.is_grad_enabled() and size > features and rows.shape[0] * size >= PAYS


def chunked_cross_entropy(
    rows: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor
) -> Tensor:
    """Mean of -ln softmax(rows weight' + bias)[targets]: rows [N, H], weight [V, H], targets [N].

    float32, whatever the dtype of the products, which under autocast is autocast's.
    """
    loss: Tensor = _ChunkedCrossEntropy.apply(rows, weight, bias, targets)  # type: ignore[no-untyped-call]
    return loss


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor
    ) -> Tensor:
        device = rows.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        with torch.autocast(device, enabled=False):
            loss, ctx.gradients = _loss_and_gradients(rows, weight, bias, targets, dtype)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dloss: Tensor) -> tuple[Tensor | None, ...]:
        scaled = (None if part is None else part * dloss.to(part.dtype) for part in ctx.gradients)
        return (*scaled, None)


def _loss_and_gradients(
    rows: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, dtype: torch.dtype | None
) -> tuple[Tensor, tuple[Tensor | None, ...]]:
    """The loss and its gradients by rows, weight and bias; products in `dtype`."""
    count, size = rows.shape[0], weight.shape[0]
    x, w = rows.to(dtype or rows.dtype), weight.to(dtype or weight.dtype)
    dx, dweight = torch.empty_like(rows), torch.zeros_like(weight)
    bias_parts = []  # summed at once: one after the other they lose digits
    total = torch.zeros((), dtype=weight.dtype, device=rows.device)
    step = max(ROWS, CHUNK // size)
    for begin in range(0, count, step):
        at = slice(begin, begin + step)
        logits = F.linear(x[at], w).to(weight.dtype)
        if bias is not None:
            logits += bias
        wanted = targets[at, None]
        logits -= logits.logsumexp(1, keepdim=True)
        total -= logits.gather(1, wanted).sum()
        d = logits.exp_()  # d loss / d logits, once the targets' share is taken off
        d.scatter_add_(1, wanted, d.new_full(wanted.shape, -1.0))
        d /= count
        bias_parts.append(d.sum(0))
        narrow = d.to(w.dtype)
        dx[at] = narrow @ w
        if dtype is None:
            dweight.addmm_(narrow.t(), x[at])
        else:
            dweight += narrow.t() @ x[at]
    dbias = None if bias is None else torch.stack(bias_parts).sum(0)
    return total / count, (dx, dweight, dbias)
