"""The GEMMs around a recurrence, for backends that bring only that.

N rows (T * B for a padded batch), D directions. `weights` holds for each direction
``weight_ih [4H, I]``, ``weight_hh [4H, H]`` and, if there is one, ``bias [4H]``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def input_gates(x: Tensor, weights: Sequence[Tensor], directions: int) -> Tensor:
    """``x @ weight_ih.T`` of ``x [N, I]``: ``[N, D, 4H]``. The bias is left to the kernel."""
    arity = len(weights) // directions
    gates = x.new_empty(x.shape[0], directions, weights[0].shape[0])
    for d in range(directions):
        torch.mm(x, weights[d * arity].t(), out=gates[:, d])
    return gates


def input_gradient(dgates: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """``dx [N, I]`` of ``dgates [N, D, 4H]``."""
    directions = dgates.shape[1]
    arity = len(weights) // directions
    dx = dgates[:, 0] @ weights[0]
    return dx.addmm_(dgates[:, 1], weights[arity]) if directions == 2 else dx


def weight_gradients(
    dgates: Tensor, x: Tensor, y: Tensor, h_0: Tensor, batch_sizes: Tensor | None, bias: bool
) -> list[Tensor]:
    """The gradients of `weights`, in their order.

    Args:
        dgates: ``[N, D, 4H]``.
        x: ``[N, I]``.
        y: ``[N, D, H]``.
        h_0: ``[D, B, H]``.
        batch_sizes: ``[T]``, or None if every step has B rows.
        bias: whether there are biases.
    """
    gradients = []
    for d in range(dgates.shape[1]):
        d_gates = dgates[:, d]
        gradients += [
            d_gates.t() @ x,
            _recurrent_weight_gradient(d_gates, y[:, d], h_0[d], batch_sizes, reverse=d == 1),
        ]
        if bias:
            gradients.append(d_gates.sum(0))
    return gradients


def _recurrent_weight_gradient(
    dgates: Tensor, y: Tensor, h_0: Tensor, batch_sizes: Tensor | None, reverse: bool
) -> Tensor:
    """``dgates.t() @ h_prev``, where the rows of h_prev are those of y a step away, or of h_0."""
    if batch_sizes is not None:
        rows = _previous_rows(batch_sizes, y.shape[0], reverse)
        return dgates.t() @ torch.cat([y, h_0])[rows]
    batch = h_0.shape[0]
    if reverse:
        first, then, before = dgates[-batch:], dgates[:-batch], y[batch:]
    else:
        first, then, before = dgates[:batch], dgates[batch:], y[:-batch]
    return (first.t() @ h_0).addmm_(then.t(), before)


def _previous_rows(batch_sizes: Tensor, rows: int, reverse: bool) -> Tensor:
    """For each packed row, its sequence's row a step before; N + b where sequence b starts."""
    sizes = batch_sizes.tolist()
    previous = []
    offset = 0
    for t, size in enumerate(sizes):
        sequence = torch.arange(size)
        if reverse:
            going_on = sizes[t + 1] if t + 1 < len(sizes) else 0
            before = offset + size + sequence
        else:
            going_on = size if t > 0 else 0
            before = offset - sizes[t - 1] + sequence
        previous.append(torch.where(sequence < going_on, before, rows + sequence))
        offset += size
    return torch.cat(previous)
