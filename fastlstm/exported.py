"""Gradients of the operator where it is called by itself: in a program of torch.export."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastlstm import autograd, inputs

_library = torch.library.Library("fastlstm", "IMPL")  # type: ignore[no-untyped-call]


def register() -> None:
    """Gives the operator its kernel for autograd. In eager code it is called below autograd."""
    _library.impl("lstm_forward", _lstm_forward, "Autograd")  # type: ignore[no-untyped-call]


def _lstm_forward(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    batch_sizes: Tensor | None,
    rows: Tensor | None,
    num_layers: int,
    save: bool,
    backend: str,
    precision: str = "",
    seed: Tensor | None = None,
    rates: Sequence[float] | None = None,
) -> tuple[Tensor, ...]:
    if inputs.needs_gradient(x, h_0, c_0, weights):
        how = batch_sizes, rows, seed, num_layers, backend, rates, True
        outputs = autograd.LSTMFunction.apply(x, h_0, c_0, *how, *weights)  # type: ignore[no-untyped-call]
    else:
        with torch._C._AutoDispatchBelowAutograd():
            rest = num_layers, save, backend, precision, seed, rates
            operator = torch.ops.fastlstm.lstm_forward
            outputs = operator(x, h_0, c_0, weights, batch_sizes, rows, *rest)
    # An operator has no optional results.
    return tuple(x.new_empty(0) if kept is None else kept for kept in outputs)
