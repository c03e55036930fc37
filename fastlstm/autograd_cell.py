"""Backpropagation through one step, as a `torch.autograd.Function` of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fastlstm import eager, reference
from fastlstm.autograd import in_dual_level, vjp


class CellFunction(torch.autograd.Function):
    """One step on kernels that take it as it is, in plain eager code: see `lstm_cell`.

    Unlike `LSTMFunction` it knows nothing of transforms, and takes a third less time.
    """

    @staticmethod
    def forward(
        ctx: Any, kernels: Any, x: Tensor, h_0: Tensor, c_0: Tensor, *weights: Tensor
    ) -> Any:
        """Runs the forward kernel and keeps what backward needs."""
        outputs = kernels.cell_forward(x, h_0, c_0, weights, True)
        if outputs is None:
            return None
        h, c, *kept = outputs
        ctx.kernels = kernels
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, h_0, c_0, *kept, *weights)  # h may be changed in place
        return h, c

    @staticmethod
    def backward(ctx: Any, dh: Tensor | None, dc: Tensor | None) -> tuple[Tensor | None, ...]:
        """The gradients of `forward`'s arguments."""
        x, h_0, c_0, *kept_and_weights = ctx.saved_tensors
        kept, weights = kept_and_weights[:2], kept_and_weights[2:]
        _, needs_dx, _, _, *needs = ctx.needs_input_grad
        gradients = None
        if not (torch.is_grad_enabled() or in_dual_level()):
            wanted = needs_dx, any(needs)
            gradients = ctx.kernels.cell_backward(dh, dc, x, h_0, c_0, weights, kept, wanted)
        if gradients is None:
            return None, *vjp(_reference_cell, (x, h_0, c_0, *weights), (dh, dc))
        dx, dh_0, dc_0, dweights = gradients
        return None, dx, dh_0, dc_0, *dweights


def lstm_cell(
    kernels: Any, x: Tensor, h_0: Tensor, c_0: Tensor, weights: Sequence[Tensor], save: bool
) -> tuple[Tensor, Tensor] | None:
    """One step on a backend's `cell_forward`, or None: it takes another way.

    x is ``[B, I]``, h_0, c_0 and the results are ``[B, H]``.
    """
    if not eager.is_plain((x, h_0, c_0, *weights)) or in_dual_level():
        return None
    if save:
        outputs = _apply_cell(kernels, x, h_0, c_0, *weights)
    else:
        outputs = kernels.cell_forward(x, h_0, c_0, weights, False)
    return None if outputs is None else (outputs[0], outputs[1])


def _reference_cell(x: Tensor, h_0: Tensor, c_0: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
    _, h, c, *_ = reference.lstm(x[None], h_0[None], c_0[None], weights)
    return h[0], c[0]


_apply_cell: Callable[..., Any] = super(torch.autograd.Function, CellFunction).apply
