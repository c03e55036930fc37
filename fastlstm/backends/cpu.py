"""The C++ kernels: whole layers, their products with the input and the weights included.

A plain call is checked and allocated for in C++ (csrc/python/direct.cpp), any other here and in
cpu_checks.py before addresses cross. T steps, B batch, I input, H hidden, P projection, L layers, D
directions, N rows (T * B if padded), O the size of h: P, or H without a projection. With a row map
x, y and their gradients have R rows, of which packed row n is rows[n]; all else has N.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from fastlstm import _C
from fastlstm.backends import Gradients, Outputs, Problem, padded
from fastlstm.backends.cpu_arguments import address, addresses_below, noise_arguments, saved, sizes
from fastlstm.backends.cpu_checks import (
    DTYPES,
    check_results,
    check_rows,
    check_states,
    checked,
    checked_weights,
    offsets_of,
)
from fastlstm.backends.cpu_kept import kept_weights
from fastlstm.backends.cpu_memory import KEPT, like
from fastlstm.noise import NONE, Noise

takes_rows = True
takes_noise = True
gate_lanes = 16  # kPadding in csrc/lstm.h
_direct = _C.Direct(Tensor, torch.empty_like, KEPT)


def why_not(problem: Problem) -> str | None:
    """What keeps the C++ kernels from running `problem`, or None."""
    if problem.device != "cpu":
        return f"tensors are on {problem.device!r}, it needs 'cpu'"
    if problem.dtype not in DTYPES:
        return f"dtype is {problem.dtype}, it needs torch.float32 or torch.bfloat16"
    return None


def isas() -> tuple[str, ...]:
    """The variants of the kernels that this CPU runs, best last."""
    return tuple(_C.isas())


def isa() -> str:
    """The variant in use: the best, or the one that FASTLSTM_CPU_ISA names.

    Raises:
        RuntimeError: FASTLSTM_CPU_ISA names a variant that is unknown or that this CPU lacks.
    """
    return _C.isa()


@contextmanager
def use_isa(name: str) -> Iterator[None]:
    """Runs the block, on all threads of the process, with the named variant."""
    before = _C.isa()
    _C.select_isa(name)
    try:
        yield
    finally:
        _C.select_isa(before)


def forward(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    batch_sizes: Tensor | None,
    num_layers: int,
    save: bool,
    precision: str = "",
    rows: Tensor | None = None,
    noise: Noise | None = None,
) -> Outputs:
    """See `fastlstm.ops.lstm_forward`; what is not saved is None."""
    plain = batch_sizes is None and rows is None and noise is None
    if plain and not precision and num_layers > 0:
        threads = torch.get_num_threads()
        outputs = _direct.forward(x, h_0, c_0, weights, num_layers, save, threads)
        if outputs is not None:
            return outputs
    dtype = x.dtype
    x, h_0, c_0 = checked(x, dtype), checked(h_0, dtype), checked(c_0, dtype)
    check_states(x, h_0, c_0, batch_sizes is None, num_layers, len(weights))
    states, batch, hidden = c_0.shape
    weights = checked_weights(weights, x, h_0, c_0, num_layers)
    shape, directions = x.shape[:-1], states // num_layers
    rows, packed = check_rows(rows, batch_sizes, x)
    features = directions * h_0.shape[2]
    offsets = None if batch_sizes is None else offsets_of(batch_sizes, packed, batch)
    # Not a view of [N, D, O]: autograd would forbid to change it in place.
    y = x.new_empty((*shape, features))
    h_n, c_n = torch.empty_like(h_0), torch.empty_like(c_0)
    noise = noise or NONE
    below = c = gates = None
    if save:
        width = directions * padded(hidden)
        below, c, gates = saved(x, num_layers, packed, features, width, noise.drops)
    # Weights and h in fewer bits, all else not; the kernels save nothing that way.
    held = precision if dtype is torch.float32 and not save else ""
    numbers = sizes(x, h_0, c_0, len(weights), offsets, num_layers, rows)
    _C.forward(
        numbers,
        dtype is torch.bfloat16,
        held,
        kept_weights(held, weights, numbers, noise),
        [w.data_ptr() for w in weights],
        (x.data_ptr(), h_0.data_ptr(), c_0.data_ptr()),
        (y.data_ptr(), h_n.data_ptr(), c_n.data_ptr()),
        (address(gates), address(c), *addresses_below(below, num_layers, noise.drops)),
        *noise_arguments(noise),
    )
    return y, h_n, c_n, below, c, gates


def backward(
    dy: Tensor | None,
    dh_n: Tensor | None,
    dc_n: Tensor | None,
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    batch_sizes: Tensor | None,
    num_layers: int,
    y: Tensor,
    below: Tensor | None,
    c: Tensor,
    gates: Tensor,
    needs_dx: bool,
    needs_dweights: Sequence[bool],
    rows: Tensor | None = None,
    noise: Noise | None = None,
) -> Gradients:
    """See `fastlstm.ops.lstm_backward`; gradients that are not needed are None."""
    plain = batch_sizes is None and rows is None and noise is None
    if plain and num_layers > 0:
        arrived, kept = (dy, dh_n, dc_n), (y, below, c, gates)
        needs, threads = (needs_dx, needs_dweights), torch.get_num_threads()
        gradients = _direct.backward(
            arrived, x, h_0, c_0, weights, num_layers, kept, *needs, threads
        )
        if gradients is not None:
            return gradients
    dtype = x.dtype
    x, h_0, c_0, y = (checked(t, dtype) for t in (x, h_0, c_0, y))
    check_states(x, h_0, c_0, batch_sizes is None, num_layers, len(weights))
    weights = checked_weights(weights, x, h_0, c_0, num_layers)
    c, gates = checked(c, torch.float32), checked(gates, dtype)
    below = None if below is None else checked(below, dtype)
    arriving = [None if d is None else checked(d, dtype) for d in (dy, dh_n, dc_n)]
    rows, packed = check_rows(rows, batch_sizes, x)
    noise = noise or NONE
    results = y, below, c, gates
    check_results(x, h_0, c_0, num_layers, packed, results, arriving, noise.drops)
    offsets = None if batch_sizes is None else offsets_of(batch_sizes, packed, c_0.shape[1])
    dx = like(x) if needs_dx else None
    dh_0, dc_0 = torch.empty_like(h_0), torch.empty_like(c_0)
    arity = len(weights) // num_layers
    dweights = [like(w) if needs_dweights[n // arity] else None for n, w in enumerate(weights)]
    _C.backward(
        sizes(x, h_0, c_0, len(weights), offsets, num_layers, rows),
        dtype is torch.bfloat16,
        [w.data_ptr() for w in weights],
        (
            *(address(t) for t in (x, h_0, c_0, y, gates, c)),
            *addresses_below(below, num_layers, noise.drops),
        ),
        tuple(address(t) for t in arriving),
        (address(dx), dh_0.data_ptr(), dc_0.data_ptr()),
        [address(w) for w in dweights],
        *noise_arguments(noise),
    )
    return dx, dh_0, dc_0, dweights


def cell_forward(
    x: Tensor, h_0: Tensor, c_0: Tensor, weights: Sequence[Tensor], save: bool
) -> tuple[Tensor | None, ...] | None:
    """One step: h, c ``[B, H]``, and what is saved for backward; None: not one for this path.

    x is ``[B, I]``, h_0 and c_0 are ``[B, H]``.
    """
    outputs = _direct.forward(x, h_0, c_0, weights, 0, save, torch.get_num_threads())
    if outputs is None:
        return None
    _, h, c, _, *kept = outputs
    return h, c, *kept


def cell_backward(
    dh: Tensor | None,
    dc: Tensor | None,
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    kept: Sequence[Tensor],
    needs: tuple[bool, bool],
) -> Gradients | None:
    """dx, dh_0, dc_0 and dweights of `cell_forward`, or None; `needs`: whether dx and dweights."""
    # What y is at steps after the first goes into weight_hh's gradient: there are none.
    arriving, results = (None, dh, dc), (h_0, None, *kept)
    return _direct.backward(
        arriving, x, h_0, c_0, weights, 0, results, needs[0], (needs[1],), torch.get_num_threads()
    )
