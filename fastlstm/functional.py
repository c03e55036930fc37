"""LSTM layers as a function: which dtype, which backend, with or without autograd."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastlstm import autograd, backends, ops, reference
from fastlstm.noise import Noise


def check_backend(name: str) -> None:
    """Raises ValueError unless `name` is "auto" or a backend's."""
    if name != "auto":
        backends.get(name)


def check_precision(name: str | None) -> None:
    """Raises ValueError unless `name` is None or "bf16"."""
    if name not in (None, "bf16"):
        raise ValueError(f"precision must be None or 'bf16', got {name!r}")


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
        precision: "bf16": kernels that can hold a float32 layer's weights and h in bfloat16, where
            nothing needs a gradient.
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
    if x.shape[0] == 0:
        raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
    if num_layers < 1:
        raise ValueError(f"num_layers must be at least 1, got {num_layers}")
    if rows is not None and batch_sizes is None:
        raise ValueError("rows must come with batch_sizes, got rows alone")
    arity = len(weights) // max(1, h_0.shape[0])
    if torch._C._is_any_autocast_enabled() and backend == "auto" and arity % 2:
        backend = "aten"  # autocast gives nn.LSTM's c_n another dtype if there is a projection
    elif torch._C._is_any_autocast_enabled():
        x, h_0, c_0, weights = _autocast(x, h_0, c_0, weights, packed=batch_sizes is not None)
    if is_per_sample(weights):
        return _per_sample(x, h_0, c_0, weights, batch_sizes, rows, num_layers, noise)
    if backend == "auto" and not _alike(x, h_0, c_0, weights[0]):
        backend = "aten"  # for the words of its error, which are nn.LSTM's
    proj_size = h_0.shape[-1] if arity in (3, 5) else 0
    if noise is not None and noise.rates[2] and proj_size:
        raise ValueError(f"zoneout of h must be 0 with a projection, got {noise.rates[2]}")
    problem = backends.Problem(x.device.type, x.dtype, proj_size)
    if backend == "auto" and x.is_cuda:
        problem = problem._replace(
            shape=_shape(x, h_0, c_0, weights, num_layers, batch_sizes is not None)
        )
    chosen = backends.select(problem, backend)
    if noise is not None and not chosen.takes_noise:
        weights = broadcast_biases(weights, arity) if arity >= 4 else weights
        return reference.lstm(x, h_0, c_0, weights, batch_sizes, num_layers, rows, noise)
    if rows is not None and not chosen.takes_rows:
        return _gathered(x, h_0, c_0, weights, batch_sizes, rows, num_layers, chosen)
    if chosen.differentiable:
        outputs: tuple[Tensor, Tensor, Tensor] = chosen.load().lstm(
            x, h_0, c_0, weights, batch_sizes, num_layers
        )
        return outputs
    if arity >= 4:
        weights = broadcast_biases(weights, arity)
    if autograd.in_dual_level():  # no kernel computes tangents
        return reference.lstm(x, h_0, c_0, weights, batch_sizes, num_layers, rows, noise)
    # The Function also brings the rule for vmap.
    if torch._C._are_functorch_transforms_active() or needs_gradient(x, h_0, c_0, weights):
        how = batch_sizes, rows, num_layers, chosen.name, noise
        return _with_gradients(x, h_0, c_0, weights, *how)
    held = precision if precision is not None and x.dtype == torch.float32 else ""
    rates, seed = (None, None) if noise is None else noise
    how_run = num_layers, False, chosen.name, held, seed, rates
    y, h_n, c_n, *_ = ops.lstm_forward(x, h_0, c_0, weights, batch_sizes, rows, *how_run)
    return y, h_n, c_n


def is_per_sample(weights: Sequence[Tensor]) -> bool:
    """Whether `call_for_per_sample_grads` runs: of such weights only products are known."""
    return type(weights[0]).__name__ == "ExpandedWeight"


def _per_sample(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    batch_sizes: Tensor | None,
    rows: Tensor | None,
    num_layers: int,
    noise: Noise | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The reference: torch knows gradients of single samples of its products alone."""
    for weight in weights:
        weight.set_allow_smaller_batches(batch_sizes is not None)  # type: ignore[attr-defined]
    return reference.lstm(x, h_0, c_0, weights, batch_sizes, num_layers, rows, noise)


def _gathered(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    batch_sizes: Tensor | None,
    rows: Tensor,
    num_layers: int,
    chosen: backends.Backend,
) -> tuple[Tensor, Tensor, Tensor]:
    """`lstm` on a backend that knows of no row map: on packed rows, y scattered."""
    if rows.shape[0] == 0:  # nor of empty sequences
        return reference.lstm(x, h_0, c_0, weights, batch_sizes, num_layers, rows)

    def layers(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        how = h_0, c_0, weights, batch_sizes
        if chosen.differentiable:
            outputs: tuple[Tensor, Tensor, Tensor] = chosen.load().lstm(x, *how, num_layers)
            return outputs
        return lstm(x, *how, num_layers=num_layers, backend=chosen.name)

    return reference.on_rows(x, rows, layers)


def _shape(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    num_layers: int,
    packed: bool,
) -> backends.Shape:
    states, batch, hidden_size = c_0.shape
    training = needs_gradient(x, h_0, c_0, weights)
    return backends.Shape(hidden_size, batch, num_layers, states // num_layers, training, packed)


def _with_gradients(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    batch_sizes: Tensor | None,
    rows: Tensor | None,
    num_layers: int,
    backend: str,
    noise: Noise | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Frozen layers below the first one that needs a gradient save nothing."""
    frozen = _frozen_layers((x, h_0, c_0), weights, num_layers) if num_layers > 1 else 0
    if frozen == 0 or noise is not None:  # which layer it is in a stack tells what is drawn
        how = batch_sizes, rows, num_layers, backend, noise
        y, h_n, c_n, *_ = autograd.lstm(x, h_0, c_0, weights, *how)
        return y, h_n, c_n
    states, arity = h_0.shape[0] * frozen // num_layers, len(weights) * frozen // num_layers
    below, h_below, c_below, *_ = ops.lstm_forward(
        x,
        h_0[:states],
        c_0[:states],
        weights[:arity],
        batch_sizes,
        rows,
        frozen,
        False,
        backend,
    )
    rest = weights[arity:], batch_sizes, rows, num_layers - frozen, backend
    y, h_n, c_n, *_ = autograd.lstm(below, h_0[states:], c_0[states:], *rest)
    return y, torch.cat((h_below, h_n)), torch.cat((c_below, c_n))


def _frozen_layers(inputs: Sequence[Tensor], weights: Sequence[Tensor], num_layers: int) -> int:
    """How many layers come before the first that needs a gradient of anything."""
    if torch._C._are_functorch_transforms_active() or any(t.requires_grad for t in inputs):
        return 0
    needs = [weight.requires_grad for weight in weights]
    return needs.index(True) * num_layers // len(weights) if True in needs else 0


def _autocast(
    x: Tensor, h_0: Tensor, c_0: Tensor, weights: Sequence[Tensor], packed: bool
) -> tuple[Tensor, Tensor, Tensor, Sequence[Tensor]]:
    """The arguments in the dtype that autocast gives nn.LSTM."""
    device = x.device.type
    if not (torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)):
        return x, h_0, c_0, weights
    if x.dtype == torch.float64 or (packed and device == "cpu"):  # as autocast does nothing there
        return x, h_0, c_0, weights
    dtype = torch.get_autocast_dtype(device)
    return x.to(dtype), h_0.to(dtype), c_0.to(dtype), [w.to(dtype) for w in weights]


def _alike(x: Tensor, *others: Tensor) -> bool:
    dtype = x.dtype
    if x.is_cpu:  # in a third of the time
        return all(t.dtype is dtype and t.is_cpu for t in others)
    return all(t.dtype is dtype and t.device == x.device for t in others)


def needs_gradient(x: Tensor, h_0: Tensor, c_0: Tensor, weights: Sequence[Tensor]) -> bool:
    """Whether autograd is to see a call with these."""
    if not torch.is_grad_enabled():
        return False
    return any(tensor.requires_grad for tensor in (weights[0], x, h_0, c_0, *weights[1:]))


def broadcast_biases(weights: Sequence[Tensor], arity: int) -> Sequence[Tensor]:
    """`weights`, where a bias ``[1]``, which nn.LSTM takes, is ``[4H]`` as the other one.

    `arity` is how many of them a direction has: at least 4, with both biases.
    """
    if all(weights[d + 2].numel() == weights[d + 3].numel() for d in range(0, len(weights), arity)):
        return weights
    broadcast = list(weights)
    for d in range(0, len(weights), arity):
        longest = max(bias.numel() for bias in weights[d + 2 : d + 4])
        broadcast[d + 2 : d + 4] = (bias.expand(longest) for bias in weights[d + 2 : d + 4])
    return broadcast
