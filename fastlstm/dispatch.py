"""Who runs a stack of layers: which dtype, which backend, with or without autograd."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fastlstm import autograd, backends, inputs, ops, reference
from fastlstm.noise import Noise


class How(NamedTuple):
    """What is done with the tensors; see `fastlstm.functional.lstm`."""

    batch_sizes: Tensor | None
    rows: Tensor | None
    num_layers: int
    noise: Noise | None
    trace: bool = False


def run_stack(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    how: How,
    backend: str,
    precision: str | None,
) -> tuple[Tensor, ...]:
    """`fastlstm.functional.lstm`: y, h_n, c_n; with a trace c and gates too."""
    _check(x, h_0, how, arity := len(weights) // max(1, h_0.shape[0]))
    if torch._C._is_any_autocast_enabled() and backend == "auto" and arity % 2:
        backend = "aten"  # autocast gives nn.LSTM's c_n another dtype if there is a projection
    elif torch._C._is_any_autocast_enabled():
        packed = how.batch_sizes is not None
        if how.rows is None and inputs.is_even(how.batch_sizes):
            packed = False  # nn.LSTM runs such a batch as a padded one
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
        return run_stack(x, h_0, c_0, weights, packed, backend, None)

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
