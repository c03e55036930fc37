"""The C++ kernels: a whole layer, its products with the input and the weights included.

Tensors are checked in cpu_checks.py before their addresses cross to C++. T steps, B batch, I input,
H hidden, P projection, D directions, N rows (T * B if padded), O the size of h: P, or H without a
projection.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from fastlstm import _C
from fastlstm.backends import Problem, padded
from fastlstm.backends.cpu_checks import (
    DTYPES,
    check_saved,
    check_states,
    checked,
    checked_gradient,
    checked_weights,
    offsets_of,
)

_POOLED = 1 << 18  # elements


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
    save: bool,
    precision: str = "",
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """See `fastlstm.ops.lstm_forward`; c and gates are None if nothing is saved."""
    dtype = x.dtype
    x, h_0, c_0 = checked(x, dtype), checked(h_0, dtype), checked(c_0, dtype)
    check_states(x, h_0, c_0, batch_sizes is None, len(weights))
    directions, batch, hidden = c_0.shape
    weights = checked_weights(weights, x, h_0, c_0)
    rows = x.shape[0] if x.dim() == 2 else x.shape[0] * batch
    offsets = None if batch_sizes is None else offsets_of(batch_sizes, rows, batch)
    # Not a view of [N, D, O]: autograd would forbid to change it in place.
    y = x.new_empty(*x.shape[:-1], directions * h_0.shape[2])
    h_n, c_n = torch.empty_like(h_0), torch.empty_like(c_0)
    c = gates = None
    if save:
        width = padded(hidden)
        c = _kept(rows, directions, width, torch.float32)
        gates = _kept(rows, directions, 4 * width, dtype)
    # Weights and h in bfloat16, all else not; the kernels save nothing that way.
    wide = precision == "bf16" and dtype is torch.float32 and not save
    products = x.bfloat16() if wide else x
    _C.forward(
        _sizes(x, h_0, c_0, weights, offsets),
        products.dtype is torch.bfloat16,
        wide,
        [w.data_ptr() for w in weights],
        (products.data_ptr(), h_0.data_ptr(), c_0.data_ptr()),
        (y.data_ptr(), h_n.data_ptr(), c_n.data_ptr()),
        (0, 0) if c is None or gates is None else (gates.data_ptr(), c.data_ptr()),
    )
    return y, h_n, c_n, c, gates


def backward(
    dy: Tensor | None,
    dh_n: Tensor | None,
    dc_n: Tensor | None,
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    batch_sizes: Tensor | None,
    y: Tensor,
    c: Tensor,
    gates: Tensor,
    needs_dx: bool,
    needs_dweights: bool,
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """See `fastlstm.ops.lstm_backward`."""
    x, h_0, c_0, y = (checked(t, x.dtype) for t in (x, h_0, c_0, y))
    check_states(x, h_0, c_0, batch_sizes is None, len(weights))
    weights = checked_weights(weights, x, h_0, c_0)
    c, gates = checked(c, torch.float32), checked(gates, x.dtype)
    check_saved(x, h_0, c_0, y, c, gates)
    arriving = [
        d if d is None else checked_gradient(name, d, of)
        for name, d, of in (("dy", dy, y), ("dh_n", dh_n, h_0), ("dc_n", dc_n, c_0))
    ]
    offsets = None
    if batch_sizes is not None:
        offsets = offsets_of(batch_sizes, gates.shape[0], c_0.shape[1])
    dx = x.new_empty(x.shape if needs_dx else (0,))
    dh_0, dc_0 = torch.empty_like(h_0), torch.empty_like(c_0)
    dweights = [w.new_empty(w.shape if needs_dweights else (0,)) for w in weights]
    _C.backward(
        _sizes(x, h_0, c_0, weights, offsets),
        x.dtype is torch.bfloat16,
        [w.data_ptr() for w in weights],
        tuple(t.data_ptr() for t in (x, h_0, c_0, y, gates, c)),
        tuple(0 if t is None else t.data_ptr() for t in arriving),
        (dx.data_ptr() if needs_dx else 0, dh_0.data_ptr(), dc_0.data_ptr()),
        [w.data_ptr() for w in dweights] if needs_dweights else [],
    )
    return dx, dh_0, dc_0, dweights


def _kept(rows: int, directions: int, width: int, dtype: torch.dtype) -> Tensor:
    """An uninitialised tensor that backward will read.

    Fresh pages of a large one would cost more than many a layer: its memory comes from the kernels'
    own, and goes back there.
    """
    if rows * directions * width < _POOLED:
        return torch.empty((rows, directions, width), dtype=dtype, device="cpu")
    capsule = _C.pooled_tensor(rows, directions, width, dtype is torch.bfloat16)
    return torch.utils.dlpack.from_dlpack(capsule)


def _sizes(
    x: Tensor, h_0: Tensor, c_0: Tensor, weights: Sequence[Tensor], offsets: Tensor | None
) -> tuple[int, ...]:
    """Sizes::Numbers in csrc/bindings.cpp. `offsets` must outlive the call."""
    directions, batch, hidden = c_0.shape
    steps, address = x.shape[0], 0  # 0: a padded batch
    if offsets is not None:
        steps, address = offsets.shape[0] - 1, offsets.data_ptr()
    projection = h_0.shape[2] if len(weights) // directions % 2 else 0
    threads = torch.get_num_threads()
    return steps, batch, x.shape[-1], hidden, projection, directions, address, threads


def make_stream(
    weights: Sequence[Sequence[Tensor]], batch: int, projection: int, bf16: bool
) -> _C.Stream:
    """The kernels' side of a `fastlstm.stream.Stream`, its state zero, without weights yet."""
    weight_ih = weights[0][0]
    wide = bf16 and weight_ih.dtype is torch.float32
    sizes = (1, batch, weight_ih.shape[1], weight_ih.shape[0] // 4, projection, 1, 0, 1)
    return _C.Stream(sizes, len(weights), wide or weight_ih.dtype is torch.bfloat16, wide)


def set_stream_weights(
    stream: _C.Stream, weights: Sequence[Sequence[Tensor]], dtype: torch.dtype, *sizes: int
) -> None:
    """Packs the weights of each layer, which must be of `dtype`; `sizes` are I, O and H."""
    input_size, output, hidden = sizes
    contiguous = []
    for layer, own in enumerate(weights):
        widths = (output if layer else input_size, output, hidden)
        like = [torch.empty((1, 0, width), dtype=dtype, device="cpu") for width in widths]
        contiguous.append(checked_weights([weight.detach() for weight in own], *like))
    for layer, checked_ones in enumerate(contiguous):  # all or none
        stream.set_weights(layer, [weight.data_ptr() for weight in checked_ones])
