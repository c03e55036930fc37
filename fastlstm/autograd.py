"""Backpropagation through time of one LSTM layer, as a `torch.autograd.Function`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from fastlstm import eager, ops, reference


def lstm(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    batch_sizes: Tensor | None,
    backend: str,
) -> tuple[Tensor, ...]:
    """`fastlstm.ops.lstm_forward` with what autograd needs: the layer's `LSTMFunction`.

    Shapes and results as there.
    """
    tensors = (x, h_0, c_0, batch_sizes)
    if eager.is_plain((*tensors, *weights)):
        outputs: tuple[Tensor, ...] = _apply(*tensors, backend, *weights)
    else:
        outputs = LSTMFunction.apply(*tensors, backend, *weights)  # type: ignore[no-untyped-call]
    return outputs


class LSTMFunction(torch.autograd.Function):
    """One layer, all its directions, on a backend whose kernels autograd does not know.

    `apply(x, h_0, c_0, batch_sizes, backend, *weights)` returns ``y, h_n, c_n`` and what BPTT needs
    (Werbos 1990). Shapes as in `fastlstm.ops`. Where a gradient must be differentiable itself
    (create_graph, torch.func), it is that of the reference: kernels are opaque.
    """

    @staticmethod
    def forward(
        x: Tensor,
        h_0: Tensor,
        c_0: Tensor,
        batch_sizes: Tensor | None,
        backend: str,
        *weights: Tensor,
    ) -> tuple[Tensor, ...]:
        """Runs the forward kernel and keeps what backward needs."""
        outputs = ops.lstm_forward(x, h_0, c_0, weights, batch_sizes, True, backend)
        return cast(tuple[Tensor, ...], outputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Saves the inputs, y, c and the gates."""
        x, h_0, c_0, ctx.batch_sizes, ctx.backend, *weights = inputs
        y, _, _, c, gates = output
        ctx.mark_non_differentiable(c, gates)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, h_0, c_0, y, c, gates, *weights)

    @staticmethod
    def backward(
        ctx: Any,
        dy: Tensor | None,
        dh_n: Tensor | None,
        dc_n: Tensor | None,
        dc: Tensor | None,
        dgates: Tensor | None,
    ) -> tuple[Tensor | None, ...]:
        """The gradients of `forward`'s arguments."""
        x, h_0, c_0, y, c, gates, *weights = ctx.saved_tensors
        if torch.is_grad_enabled():
            inputs = (x, h_0, c_0, *weights)
            dx, dh_0, dc_0, *dweights = _reference_vjp(inputs, ctx.batch_sizes, (dy, dh_n, dc_n))
            return dx, dh_0, dc_0, None, None, *dweights
        needs_dx, _, _, _, _, *needs = ctx.needs_input_grad
        dx, dh_0, dc_0, dweights = ops.lstm_backward(
            dy,
            dh_n,
            dc_n,
            x,
            h_0,
            c_0,
            weights,
            ctx.batch_sizes,
            y,
            c,
            gates,
            needs_dx,
            any(needs),
            ctx.backend,
        )
        return (
            dx if needs_dx else None,
            dh_0,
            dc_0,
            None,
            None,
            *(dweights if any(needs) else [None for _ in weights]),
        )

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], *inputs: Any
    ) -> tuple[tuple[Tensor, ...], tuple[int | None, ...]]:
        """No kernel takes batched weights: the reference, which vmap sees through."""
        x, h_0, c_0, batch_sizes, _, *weights = inputs
        x_dim, h_dim, c_dim, _, _, *weight_dims = in_dims
        layer = _reference_layer(batch_sizes)
        batched = torch.func.vmap(layer, in_dims=(x_dim, h_dim, c_dim, *weight_dims))
        y, h_n, c_n = batched(x, h_0, c_0, *weights)
        return (y, h_n, c_n, y.new_empty(0), y.new_empty(0)), (0, 0, 0, None, None)


# What `LSTMFunction.apply` ends in once it has inspected the signature of `forward`: 20 us less.
_apply: Callable[..., Any] = super(torch.autograd.Function, LSTMFunction).apply


def _reference_layer(batch_sizes: Tensor | None) -> Callable[..., tuple[Tensor, ...]]:
    """The reference as a function of tensors alone, which torch.func transforms."""

    def layer(x: Tensor, h_0: Tensor, c_0: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        return reference.lstm(x, h_0, c_0, weights, batch_sizes)

    return layer


def _reference_vjp(
    inputs: Sequence[Tensor], batch_sizes: Tensor | None, cotangents: Sequence[Tensor | None]
) -> tuple[Tensor, ...]:
    """The gradients of the reference at `inputs`, themselves differentiable."""

    outputs, vjp, *_ = torch.func.vjp(_reference_layer(batch_sizes), *inputs)
    gradients: tuple[Tensor, ...] = vjp(
        tuple(
            torch.zeros_like(out) if d is None else d
            for out, d in zip(outputs, cotangents, strict=True)
        )
    )
    return gradients
