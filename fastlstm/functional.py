"""LSTM layers as a function: which dtype, which backend, with or without autograd."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fastlstm import autograd, backends, inputs, ops, reference
from fastlstm.noise import Noise


def check_backend(name: str) -> None:
    """Raises ValueError unless `name` is "auto" or a backend's."""
    if name != "auto":
        backends.get(name)


def check_precision(name: str | None) -> None:
    """Raises ValueError unless `name` is None, "bf16" or "int8"."""
    if name not in (None, "bf16", "int8"):
        raise ValueError(f"precision must be None, 'bf16' or 'int8', got {name!r}")


class How(NamedTuple):
    """What `lstm` does with its tensors; see there."""

    batch_sizes: Tensor | None
    rows: Tensor | None
    num_layers: int
    noise: Noise | None
    trace: bool = False


def lstm(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    batch_sizes: Tensor | None = None,
    rows: Tensor | None = None,
    *,
    num_layers: int = 1,
    backend: str = "auto",
    precision: str | None = None,
    noise: Noise | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """A stack of LSTM layers without dropout between them: `torch.lstm` on the backend chosen.

    T time, B batch, I input, H hidden, L layers, D directions (1, or 2: bidirectional), P
    projection.

    Args:
        x: ``[T, B, I]``; with `batch_sizes` the packed rows ``[N, I]`` of a `PackedSequence`.
        h_0: ``[L*D, B, H]``, or ``[L*D, B, P]`` with a projection.
        c_0: ``[L*D, B, H]``.
        weights: for each direction of each layer, as nn.LSTM has them, ``weight_ih [4H, I]`` (after
            the first layer ``[4H, D*H]``), ``weight_hh [4H, H]``, perhaps ``bias_ih [4H]`` and
            ``bias_hh [4H]``, perhaps ``weight_hr [P, H]``; gates in the order i, f, g, o.
        batch_sizes: ``[T]`` int64 on the CPU, non-increasing; None for a padded batch.
        rows: with `batch_sizes`, a row map ``[N]`` int64 on the CPU: packed row n is row rows[n] of
            ``x [R, I]``, which may be any buffer, say a padded batch as rows; no two are the same.
            y is ``[R, D*H]`` then, zero in its other rows. `fastlstm.ragged` makes such maps.
        num_layers: L.
        backend: "auto" or a name from `fastlstm.backends.names()`.
        precision: "bf16" or "int8": kernels that can hold a float32 layer's weights so, where
            nothing needs a gradient, as `LSTM` has it.
        noise: dropout on h, and zoneout; backends that have none leave it to the reference.

    Returns:
        ``y [T, B, D*H]`` (or ``[N, D*H]``), ``h_n`` and ``c_n``, of the shapes of h_0 and c_0. The
        dtype is x's, or under autocast the one that autocast gives.

    Raises:
        ValueError: no backend or no precision has that name; num_layers is less than 1; rows come
            without batch_sizes; zoneout of h comes with a projection.
        RuntimeError: the sequence is empty, or the backend asked for cannot run this layer.
    """
    if precision is not None:
        check_precision(precision)
    how = How(batch_sizes, rows, num_layers, noise)
    y, h_n, c_n = _stack(x, h_0, c_0, weights, how, backend, precision)
    return y, h_n, c_n


def lstm_and_trace(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    batch_sizes: Tensor | None = None,
    rows: Tensor | None = None,
    *,
    num_layers: int = 1,
    backend: str = "auto",
    noise: Noise | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """`lstm`, and what every unit did at every step.

    Returns:
        ``y``, ``h_n``, ``c_n``; then ``c [L, N, D*H]`` and the activated gates i, f, g, o
        ``[L, N, 4, D*H]``, of packed rows, of a padded batch ``N = T * B``. All have gradients;
        those of c and gates are computed step by step.
    """
    how = How(batch_sizes, rows, num_layers, noise, trace=True)
    y, h_n, c_n, c, gates = _stack(x, h_0, c_0, weights, how, backend, None)
    return y, h_n, c_n, c, gates


def _stack(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    how: How,
    backend: str,
    precision: str | None,
) -> tuple[Tensor, ...]:
    """y, h_n, c_n; with a trace c and gates too."""
    _check(x, h_0, how, arity := len(weights) // max(1, h_0.shape[0]))
    if torch._C._is_any_autocast_enabled() and backend == "auto" and arity % 2:
        backend = "aten"  # autocast gives nn.LSTM's c_n another dtype if there is a projection
    elif torch._C._is_any_autocast_enabled():
        packed = how.batch_sizes is not None
        x, h_0, c_0, weights = inputs.autocast(x, h_0, c_0, weights, packed=packed)
    if inputs.is_per_sample(weights):
        return _per_sample(x, h_0, c_0, weights, how)
    if backend == "auto" and not inputs.alike(x, h_0, c_0, weights[0]):
        backend = "aten"  # for the words of its error, which are nn.LSTM's
    proj_size = h_0.shape[-1] if arity in (3, 5) else 0
    problem = backends.Problem(x.device.type, x.dtype, proj_size)
    if backend == "auto" and x.is_cuda:
        problem = problem._replace(shape=_shape(x, h_0, c_0, weights, how))
    chosen = backends.select(problem, backend)
    if chosen.differentiable and not how.trace and how.noise is None:
        return _differentiable(x, h_0, c_0, weights, how, chosen)
    if arity >= 4:
        weights = inputs.broadcast_biases(weights, arity)
    if not _has_kernels(how, chosen):
        return _reference(x, h_0, c_0, weights, how)
    if how.rows is not None and not chosen.takes_rows:
        return _gathered(x, h_0, c_0, weights, how, chosen.name)
    return _on_kernels(x, h_0, c_0, weights, how, chosen, precision)


def _check(x: Tensor, h_0: Tensor, how: How, arity: int) -> None:
    # A compiler may not know how many packed rows there are.
    if not (how.batch_sizes is not None and torch.compiler.is_compiling()) and x.shape[0] == 0:
        raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
    if how.num_layers < 1:
        raise ValueError(f"num_layers must be at least 1, got {how.num_layers}")
    if how.rows is not None and how.batch_sizes is None:
        raise ValueError("rows must come with batch_sizes, got rows alone")
    if how.noise is not None and how.noise.rates[2] and arity in (3, 5):
        raise ValueError(f"zoneout of h must be 0 with a projection, got {how.noise.rates[2]}")


def _has_kernels(how: How, chosen: backends.Backend) -> bool:
    """Whether the kernels of a backend do all of it; else the reference does."""
    if chosen.differentiable or (how.noise is not None and not chosen.takes_noise):
        return False
    if not chosen.takes_rows and _is_empty(how):
        return False
    if how.trace and torch._C._are_functorch_transforms_active():
        return False
    return not autograd.in_dual_level()  # no kernel computes tangents


def _is_empty(how: How) -> bool:
    """Whether a row map has only sequences without steps: most backends know of none."""
    if how.rows is None or torch.compiler.is_compiling():  # a compiler can't ask for it
        return False
    return how.rows.shape[0] == 0


def _on_kernels(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    how: How,
    chosen: backends.Backend,
    precision: str | None,
) -> tuple[Tensor, ...]:
    batch_sizes, rows, num_layers, noise, trace = how
    # The Function also brings the rule for vmap.
    if torch._C._are_functorch_transforms_active() or inputs.needs_gradient(x, h_0, c_0, weights):
        if not trace and noise is None:
            return _with_gradients(x, h_0, c_0, weights, how, chosen.name)
        outputs = autograd.lstm(
            x, h_0, c_0, weights, batch_sizes, rows, num_layers, chosen.name, noise, trace
        )
    else:
        held = precision if precision is not None and x.dtype == torch.float32 else ""
        rates, seed = (None, None) if noise is None else noise
        last = trace, chosen.name, held, seed, rates
        outputs = ops.lstm_forward(x, h_0, c_0, weights, batch_sizes, rows, num_layers, *last)  # type: ignore[assignment]
    y, h_n, c_n, _, c, gates = outputs
    if not trace:
        return y, h_n, c_n
    return y, h_n, c_n, *backends.unpacked(c, gates, c_0.shape[2], chosen.gate_lanes)


def _reference(
    x: Tensor, h_0: Tensor, c_0: Tensor, weights: Sequence[Tensor], how: How
) -> tuple[Tensor, ...]:
    batch_sizes, rows, num_layers, noise, trace = how
    return reference.lstm(x, h_0, c_0, weights, batch_sizes, num_layers, rows, noise, trace)


def _per_sample(
    x: Tensor, h_0: Tensor, c_0: Tensor, weights: Sequence[Tensor], how: How
) -> tuple[Tensor, ...]:
    """The reference: torch knows gradients of single samples of its products alone."""
    for weight in weights:
        weight.set_allow_smaller_batches(how.batch_sizes is not None)  # type: ignore[attr-defined]
    return _reference(x, h_0, c_0, weights, how)


def _differentiable(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    how: How,
    chosen: backends.Backend,
) -> tuple[Tensor, ...]:
    """`lstm` on a backend of PyTorch's operators; with a row map on packed rows, y scattered."""
    if _is_empty(how):
        return _reference(x, h_0, c_0, weights, how)

    def layers(x: Tensor) -> tuple[Tensor, ...]:
        run = chosen.load().lstm
        outputs: tuple[Tensor, ...] = run(x, h_0, c_0, weights, how.batch_sizes, how.num_layers)
        return outputs

    return layers(x) if how.rows is None else reference.on_rows(x, how.rows, layers)


def _gathered(
    x: Tensor, h_0: Tensor, c_0: Tensor, weights: Sequence[Tensor], how: How, backend: str
) -> tuple[Tensor, ...]:
    """`lstm` on kernels that know of no row map: on packed rows, y scattered."""
    packed = how._replace(rows=None)

    def layers(x: Tensor) -> tuple[Tensor, ...]:
        return _stack(x, h_0, c_0, weights, packed, backend, None)

    assert how.rows is not None
    return reference.on_rows(x, how.rows, layers)


def _shape(
    x: Tensor, h_0: Tensor, c_0: Tensor, weights: Sequence[Tensor], how: How
) -> backends.Shape:
    states, batch, hidden_size = c_0.shape
    training = how.trace or inputs.needs_gradient(x, h_0, c_0, weights)
    layers, packed = how.num_layers, how.batch_sizes is not None
    return backends.Shape(hidden_size, batch, layers, states // layers, training, packed)


def _with_gradients(
    x: Tensor, h_0: Tensor, c_0: Tensor, weights: Sequence[Tensor], how: How, backend: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Frozen layers below the first one that needs a gradient save nothing."""
    batch_sizes, rows, num_layers, *_ = how
    frozen = _frozen_layers((x, h_0, c_0), weights, num_layers) if num_layers > 1 else 0
    if frozen == 0:
        y, h_n, c_n, *_ = autograd.lstm(
            x, h_0, c_0, weights, batch_sizes, rows, num_layers, backend
        )
        return y, h_n, c_n
    states, arity = h_0.shape[0] * frozen // num_layers, len(weights) * frozen // num_layers
    of_frozen = weights[:arity], batch_sizes, rows, frozen, False, backend
    below, h_below, c_below, *_ = ops.lstm_forward(x, h_0[:states], c_0[:states], *of_frozen)
    rest = weights[arity:], batch_sizes, rows, num_layers - frozen, backend
    y, h_n, c_n, *_ = autograd.lstm(below, h_0[states:], c_0[states:], *rest)
    return y, torch.cat((h_below, h_n)), torch.cat((c_below, c_n))


def _frozen_layers(inputs: Sequence[Tensor], weights: Sequence[Tensor], num_layers: int) -> int:
    """How many layers come before the first that needs a gradient of anything."""
    if torch._C._are_functorch_transforms_active() or any(t.requires_grad for t in inputs):
        return 0
    needs = [weight.requires_grad for weight in weights]
    return needs.index(True) * num_layers // len(weights) if True in needs else 0
