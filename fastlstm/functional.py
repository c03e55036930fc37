"""LSTM layers as a function."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fastlstm import backends
from fastlstm.dispatch import How, run_stack
from fastlstm.noise import Noise


def check_backend(name: str) -> None:
    """Raises ValueError unless `name` is "auto" or a backend's."""
    if name != "auto":
        backends.get(name)


def check_precision(name: str | None) -> None:
    """Raises ValueError unless `name` is None, "bf16" or "int8"."""
    if name not in (None, "bf16", "int8"):
        raise ValueError(f"precision must be None, 'bf16' or 'int8', got {name!r}")


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
    y, h_n, c_n = run_stack(x, h_0, c_0, weights, how, backend, precision)
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
    y, h_n, c_n, c, gates = run_stack(x, h_0, c_0, weights, how, backend, None)
    return y, h_n, c_n, c, gates
