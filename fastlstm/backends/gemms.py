"""The GEMMs around a recurrence, for backends that bring only that.

N rows (T * B for a padded batch), D directions. `weights` holds for each direction
``weight_ih [4H, I]``, ``weight_hh [4H, H]`` and, if there is one, ``bias [4H]``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_ROWS = 128


def input_gates(x: Tensor, weights: Sequence[Tensor], directions: int) -> Tensor:
    """``x @ weight_ih.T`` of ``x [N, I]``: ``[N, D, 4H]``. The bias is left to the kernel."""
    arity = len(weights) // directions
    gates = x.new_empty(x.shape[0], directions, weights[0].shape[0])
    for d in range(directions):
        torch.mm(x, weights[d * arity].t(), out=gates[:, d])
    return gates


def add_state_gates(gates: Tensor, h_0: Tensor, weights: Sequence[Tensor]) -> None:
    """Adds ``h_0 @ weight_hh.T`` to the ``gates [B, D, 4H]`` of the first step."""
    arity = len(weights) // h_0.shape[0]
    for d, h in enumerate(h_0):
        gates[:, d].addmm_(h, weights[d * arity + 1].t())


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
        before = torch.cat([y, h_0])[_previous_rows(batch_sizes, reverse)]
        # In parts, as nn.LSTM sums step by step: rounding grows with the length of one sum.
        gradient = dgates.new_zeros(dgates.shape[1], y.shape[1])
        for part, rows in zip(torch.split(dgates, _ROWS), torch.split(before, _ROWS), strict=True):
            gradient.addmm_(part.t(), rows)
        return gradient
    batch = h_0.shape[0]
    if reverse:
        first, then, before = dgates[-batch:], dgates[:-batch], y[batch:]
    else:
        first, then, before = dgates[:batch], dgates[batch:], y[:-batch]
    return (first.t() @ h_0).addmm_(then.t(), before)


def _previous_rows(batch_sizes: Tensor, reverse: bool) -> Tensor:
    """For each of the N packed rows, its sequence's row a step before; N + b where b starts."""
    step = torch.repeat_interleave(batch_sizes)
    first = batch_sizes.cumsum(0) - batch_sizes
    row = torch.arange(step.shape[0])
    sequence = row - first[step]
    before = step + 1 if reverse else step - 1
    exists = (before >= 0) & (before < batch_sizes.shape[0])
    before = before * exists
    goes_on = exists & (sequence < batch_sizes[before])
    return torch.where(goes_on, first[before] + sequence, step.shape[0] + sequence)
