"""One LSTM layer as a function: which dtype, which backend, with or without autograd."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastlstm import backends, ops
from fastlstm.autograd import LSTMFunction


def check_backend(name: str) -> None:
    """Raises ValueError unless `name` is "auto" or a backend's."""
    if name != "auto":
        backends.get(name)


def lstm(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    batch_sizes: Tensor | None = None,
    *,
    backend: str = "auto",
) -> tuple[Tensor, Tensor, Tensor]:
    """One LSTM layer, all its directions: `torch.lstm` with one layer, on the backend chosen.

    T time, B batch, I input, H hidden, D directions (1, or 2: bidirectional), P projection.

    Args:
        x: ``[T, B, I]``; with `batch_sizes` the packed rows ``[N, I]`` of a `PackedSequence`.
        h_0: ``[D, B, H]``, or ``[D, B, P]`` with a projection.
        c_0: ``[D, B, H]``.
        weights: for each direction, as nn.LSTM has them, ``weight_ih [4H, I]``,
            ``weight_hh [4H, H]``, perhaps ``bias_ih [4H]`` and ``bias_hh [4H]``, perhaps
            ``weight_hr [P, H]``; gates in the order i, f, g, o.
        batch_sizes: ``[T]`` int64 on the CPU, non-increasing; None for a padded batch.
        backend: "auto" or a name from `fastlstm.backends.names()`.

    Returns:
        ``y [T, B, D*H]`` (or ``[N, D*H]``), ``h_n`` and ``c_n``, of the shapes of h_0 and c_0. The
        dtype is x's, or under autocast the one that autocast gives.

    Raises:
        ValueError: no backend has that name.
        RuntimeError: the sequence is empty, or the backend asked for cannot run this layer.
    """
    if x.shape[0] == 0:
        raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
    x, h_0, c_0, weights = _autocast(x, h_0, c_0, weights, packed=batch_sizes is not None)
    if backend == "auto" and any(
        t.dtype != x.dtype or t.device != x.device for t in (h_0, c_0, weights[0])
    ):
        backend = "aten"  # for the words of its error, which are nn.LSTM's
    arity = len(weights) // h_0.shape[0]
    proj_size = h_0.shape[2] if arity in (3, 5) else 0
    problem = backends.Problem(x.device.type, x.dtype, proj_size)
    chosen = backends.select(problem, backend)
    if chosen.differentiable:
        outputs: tuple[Tensor, Tensor, Tensor] = chosen.load().lstm(
            x, h_0, c_0, weights, batch_sizes
        )
        return outputs
    if arity == 4:
        weights = _sum_biases(weights)
    # The Function also brings the rule for vmap; without need of either it costs 20 us.
    if torch._C._are_functorch_transforms_active() or (
        torch.is_grad_enabled() and any(t.requires_grad for t in (x, h_0, c_0, *weights))
    ):
        y, h_n, c_n, _, _ = LSTMFunction.apply(  # type: ignore[no-untyped-call]
            x, h_0, c_0, batch_sizes, chosen.name, *weights
        )
    else:
        y, h_n, c_n, _, _ = ops.lstm_forward(x, h_0, c_0, weights, batch_sizes, False, chosen.name)
    return y, h_n, c_n


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


def _sum_biases(weights: Sequence[Tensor]) -> list[Tensor]:
    """For each direction weight_ih, weight_hh and bias_ih + bias_hh."""
    return [
        w
        for d in range(0, len(weights), 4)
        for w in (weights[d], weights[d + 1], weights[d + 2] + weights[d + 3])
    ]
