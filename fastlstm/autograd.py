"""Backpropagation through time of a stack of LSTM layers, as a `torch.autograd.Function`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from fastlstm import backends, eager, ops, reference
from fastlstm.noise import Noise, Rates


def lstm(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    batch_sizes: Tensor | None,
    rows: Tensor | None,
    num_layers: int,
    backend: str,
    noise: Noise | None = None,
    trace: bool = False,
) -> tuple[Tensor, ...]:
    """`fastlstm.ops.lstm_forward` with what autograd needs: the layers' `LSTMFunction`.

    Shapes and results as there. c and gates have gradients if `trace`.
    """
    rates, seed = (None, None) if noise is None else noise
    tensors = (x, h_0, c_0, batch_sizes, rows, seed)
    how = num_layers, backend, rates, trace
    if torch.compiler.is_exporting():  # the operator itself has gradients then: see `exported`
        saving = batch_sizes, rows, num_layers, True, backend, "", seed, rates
        return ops.lstm_forward(x, h_0, c_0, weights, *saving)  # type: ignore[return-value]
    if eager.is_plain((*tensors, *weights)):
        outputs: tuple[Tensor, ...] = _apply(*tensors, *how, *weights)
    else:
        outputs = LSTMFunction.apply(*tensors, *how, *weights)  # type: ignore[no-untyped-call]
    return outputs


def in_dual_level() -> bool:
    """Whether tensors may have tangents, of forward-mode AD: kernels would drop them."""
    return forward_ad._current_level >= 0


# Of `LSTMFunction`'s arguments.
_SEED = 5
_FIRST_WEIGHT = 10
_NOT_DIFFERENTIABLE = (None,) * 7  # from batch_sizes to trace


class LSTMFunction(torch.autograd.Function):
    """Layers, all their directions, on a backend whose kernels autograd does not know.

    `apply(x, h_0, c_0, batch_sizes, rows, seed, num_layers, backend, rates, trace, *weights)`
    returns ``y, h_n, c_n`` and what BPTT needs (Werbos 1990). Shapes as in `fastlstm.ops`. Where a
    gradient must be differentiable itself (create_graph, torch.func, forward-mode AD), or one
    arrives at c or the gates, it is that of the reference: kernels are opaque.
    """

    @staticmethod
    def forward(
        x: Tensor,
        h_0: Tensor,
        c_0: Tensor,
        batch_sizes: Tensor | None,
        rows: Tensor | None,
        seed: Tensor | None,
        num_layers: int,
        backend: str,
        rates: Rates | None,
        trace: bool,
        *weights: Tensor,
    ) -> tuple[Tensor | None, ...]:
        """Runs the forward kernel and keeps what backward needs."""
        how = batch_sizes, rows, num_layers, True, backend, "", seed, rates
        return ops.lstm_forward(x, h_0, c_0, weights, *how)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor | None, ...]) -> None:
        """Saves the inputs, the layers' outputs, c and the gates."""
        x, h_0, c_0, ctx.batch_sizes, ctx.rows, ctx.seed, *how = inputs
        ctx.num_layers, ctx.backend, ctx.rates, ctx.trace, *weights = how
        y, _, _, *kept = output
        opaque = kept[:1] if ctx.trace else kept
        ctx.mark_non_differentiable(*(tensor for tensor in opaque if tensor is not None))
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, h_0, c_0, y, *kept, *weights)

    @staticmethod
    def backward(
        ctx: Any,
        dy: Tensor | None,
        dh_n: Tensor | None,
        dc_n: Tensor | None,
        *of_kept: Tensor | None,
    ) -> tuple[Tensor | None, ...]:
        """The gradients of `forward`'s arguments."""
        x, h_0, c_0, y, below, c, gates, *weights = ctx.saved_tensors
        traced = _of_trace(ctx, of_kept, c_0.shape[2])
        if torch.is_grad_enabled() or in_dual_level() or traced:
            how = ctx.batch_sizes, ctx.rows, ctx.num_layers, ctx.seed, ctx.rates, bool(traced)
            arriving = dy, dh_n, dc_n, *traced
            of_inputs = vjp(_reference_layers(*how), (x, h_0, c_0, *weights), arriving)
            return *of_inputs[:3], *_NOT_DIFFERENTIABLE, *of_inputs[3:]
        needs_dx, needs = ctx.needs_input_grad[0], ctx.needs_input_grad[_FIRST_WEIGHT:]
        arity = len(needs) // ctx.num_layers
        needs_dweights = [any(needs[n : n + arity]) for n in range(0, len(needs), arity)]
        dx, dh_0, dc_0, dweights = ops.lstm_backward(
            dy,
            dh_n,
            dc_n,
            x,
            h_0,
            c_0,
            weights,
            ctx.batch_sizes,
            ctx.rows,
            ctx.num_layers,
            y,
            below,
            c,
            gates,
            needs_dx,
            needs_dweights,
            ctx.backend,
            ctx.seed,
            ctx.rates,
        )
        wanted = (d if need else None for d, need in zip(dweights, needs, strict=True))
        return dx if needs_dx else None, dh_0, dc_0, *_NOT_DIFFERENTIABLE, *wanted

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], *inputs: Any
    ) -> tuple[tuple[Tensor, ...], tuple[int | None, ...]]:
        """No kernel takes batched weights: the reference, which vmap sees through."""
        x, h_0, c_0, batch_sizes, rows, seed, num_layers, _, rates, _, *weights = inputs
        dims = in_dims[_SEED], *in_dims[:3], *in_dims[_FIRST_WEIGHT:]

        def layers(seed: Tensor | None, *tensors: Tensor) -> tuple[Tensor, ...]:
            how = batch_sizes, rows, num_layers, seed, rates
            return _reference_layers(*how)(*tensors)

        y, h_n, c_n = torch.func.vmap(layers, in_dims=dims)(seed, x, h_0, c_0, *weights)
        nothing = [y.new_empty(0) for _ in range(3)]
        return (y, h_n, c_n, *nothing), (0, 0, 0, None, None, None)


# What `LSTMFunction.apply` ends in once it has inspected the signature of `forward`: 20 us less.
_apply: Callable[..., Any] = super(torch.autograd.Function, LSTMFunction).apply


def _reference_layers(
    batch_sizes: Tensor | None,
    rows: Tensor | None,
    num_layers: int,
    seed: Tensor | None,
    rates: Rates | None,
    trace: bool = False,
) -> Callable[..., tuple[Tensor, ...]]:
    """The reference as a function of tensors alone, which torch.func transforms."""
    noise = None if rates is None else Noise(rates, seed)

    def layers(x: Tensor, h_0: Tensor, c_0: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        return reference.lstm(x, h_0, c_0, weights, batch_sizes, num_layers, rows, noise, trace)

    return layers


def _of_trace(ctx: Any, of_kept: Sequence[Tensor | None], hidden: int) -> tuple[Tensor, ...]:
    """Of what arrives at what forward saved: the gradients of c and of the gates, if any."""
    _, *arrived = of_kept
    if not ctx.trace or all(d is None for d in arrived):
        return ()
    *_, c, gates = ctx.saved_tensors[:7]
    like = zip(arrived, (c, gates), strict=True)
    dc, dgates = (torch.zeros_like(saved) if d is None else d for d, saved in like)
    return backends.unpacked(dc, dgates, hidden, backends.get(ctx.backend).gate_lanes)


def vjp(
    layers: Callable[..., tuple[Tensor, ...]],
    inputs: Sequence[Tensor],
    cotangents: Sequence[Tensor | None],
) -> tuple[Tensor, ...]:
    """The gradients of a function at `inputs`, themselves differentiable. None arrives as zero."""
    outputs, pull_back, *_ = torch.func.vjp(layers, *inputs)
    gradients: tuple[Tensor, ...] = pull_back(
        tuple(
            torch.zeros_like(out) if d is None else d
            for out, d in zip(outputs, cotangents, strict=True)
        )
    )
    return gradients
