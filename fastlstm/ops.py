"""A stack of layers whose kernels autograd does not know: through an operator, or at once.

The operators are those of operators.py, which has the shapes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastlstm import eager
from fastlstm.backends import Gradients, Outputs
from fastlstm.operators import backward_operator, forward_operator, run_backward, run_forward


def _tell_flop_counters() -> None:
    if not torch.compiler.is_compiling() and torch._C._len_torch_dispatch_stack():
        from fastlstm import flops  # its formulas are of the operators above

        flops.tell_counters()


def lstm_forward(
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
) -> Outputs:
    """The operator `fastlstm.lstm_forward`, or at once its kernel where nothing else would see it.

    Args:
        x: ``[T, B, I]``; with `batch_sizes` packed rows ``[N, I]``.
        h_0: ``[L*D, B, H]``, or ``[L*D, B, P]`` with a projection.
        c_0: ``[L*D, B, H]``.
        weights: those of each direction of each layer, as in operators.py.
        batch_sizes: ``[T]`` int64 on the CPU, or None for a padded batch.
        rows: with `batch_sizes`, the row map ``[N]``, int64 on the CPU: packed row n is row rows[n]
            of ``x [R, I]`` and of ``y [R, D*H]``, whose other rows are zero. No two are the same
            row. What is saved and the states are in packed order. None: x and y are too. Only for a
            backend that `takes_rows`.
        num_layers: L.
        save: whether to return what `lstm_backward` needs.
        backend: the name of a backend with kernels.
        precision: "", "bf16" or "int8": what weights are held in where the backend can; ignored
            if anything is saved.
        seed, rates: see `fastlstm.noise.Noise`; None: no noise. Only for one that `takes_noise`.

    Returns:
        ``y [T, B, D*H]`` (or ``[N, D*H]``; P for H with a projection), ``h_n``, ``c_n``, and
        ``below``, ``c`` and ``gates``, which may be None where nothing is saved.
    """
    plain = eager.is_plain((x, h_0, c_0, batch_sizes, rows, seed, *weights))
    if not plain:
        _tell_flop_counters()
        precision = str(precision)  # without what a module keeps in it
    call = run_forward if plain else forward_operator
    how = num_layers, save, backend, precision, seed, rates
    return call(x, h_0, c_0, weights, batch_sizes, rows, *how)


def lstm_backward(
    dy: Tensor | None,
    dh_n: Tensor | None,
    dc_n: Tensor | None,
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    batch_sizes: Tensor | None,
    rows: Tensor | None,
    num_layers: int,
    y: Tensor,
    below: Tensor | None,
    c: Tensor,
    gates: Tensor,
    needs_dx: bool,
    needs_dweights: Sequence[bool],
    backend: str,
    seed: Tensor | None = None,
    rates: Sequence[float] | None = None,
) -> Gradients:
    """The operator `fastlstm.lstm_backward`, or at once its kernel, as `lstm_forward`.

    Returns ``dx``, ``dh_0``, ``dc_0`` and a gradient for each of `weights`; dx and those of the
    weights of a layer are empty or None where they are not needed: `needs_dweights` has one bool
    for each layer. A gradient that arrives as None is zero.
    """
    inputs = x, h_0, c_0, weights, batch_sizes, rows, num_layers, y, below, c, gates
    plain = eager.is_plain(
        (dy, dh_n, dc_n, x, h_0, c_0, batch_sizes, rows, y, below, c, gates, *weights)
    )
    if not plain:
        _tell_flop_counters()
    call = run_backward if plain else backward_operator
    return call(dy, dh_n, dc_n, *inputs, needs_dx, needs_dweights, backend, seed, rates)
