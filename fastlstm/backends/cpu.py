"""The C++ kernels: the recurrence on packed weights, the GEMMs around it by PyTorch.

This is the one place where tensors are checked before their addresses cross to C++, which trusts
its caller. T steps, B batch, I input, H hidden, D directions, N rows (T * B if padded).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from fastlstm import _C
from fastlstm.backends import Problem, gemms

_FUSED_BYTES_PER_ROW = 48 << 10
_FUSED_BYTES = 5 << 19


def why_not(problem: Problem) -> str | None:
    """What keeps the C++ kernels from running `problem`, or None."""
    if problem.device != "cpu":
        return f"tensors are on {problem.device!r}, it needs 'cpu'"
    if problem.dtype is not torch.float32:
        return f"dtype is {problem.dtype}, it needs torch.float32"
    if problem.proj_size:
        return f"proj_size is {problem.proj_size}, it needs 0"
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
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See `fastlstm.ops.lstm_forward`."""
    rows = _checked(x).view(-1, x.shape[-1])
    directions, batch, hidden = h_0.shape
    weights = _checked_weights(weights, directions, rows.shape[1], hidden)
    h_0, c_0 = _checked(h_0), _checked(c_0)
    offsets = _offsets(batch_sizes, rows.shape[0], batch)
    shape = _shape(x, h_0, offsets)
    single = shape[0] == 1  # one step does not repay packing weight_hh
    fused = not single and _fuses_projection(batch, rows.shape[1], hidden)
    if fused:
        gates = x.new_empty(*(rows.shape[0], directions, 4 * hidden) if save else (0,))
    else:
        gates = gemms.input_gates(rows, weights, directions)
    if single:
        gemms.add_state_gates(gates, h_0, weights)
    # Not a view of [N, D, H]: autograd would forbid to change it in place.
    y = x.new_empty(*x.shape[:-1], directions * hidden)
    c = x.new_empty(*(rows.shape[0], directions, hidden) if save else (0,))
    h_n, c_n = torch.empty_like(h_0), torch.empty_like(c_0)
    _C.forward(
        *shape,
        rows.shape[1],
        rows.data_ptr() if fused else 0,
        _addresses(weights, directions, 0),
        (0, 0) if single else _addresses(weights, directions, 1),
        _addresses(weights, directions, 2),
        *(t.data_ptr() for t in (h_0, c_0, gates, y)),
        c.data_ptr() if save else 0,
        *(t.data_ptr() for t in (h_n, c_n)),
    )
    return y, h_n, c_n, c, gates if save else x.new_empty(0)


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
    directions, _, hidden = h_0.shape
    weights = [_checked(w) for w in weights]
    c_0, y, c, gates = (_checked(t) for t in (c_0, y, c, gates))
    dy, dh_n = (None if d is None else _checked(d) for d in (dy, dh_n))
    offsets = _offsets(batch_sizes, gates.shape[0], h_0.shape[1])
    dgates = torch.empty_like(gates)
    dh_0 = torch.empty_like(c_0)
    dc_0 = torch.zeros_like(c_0) if dc_n is None else torch.empty_like(c_0).copy_(dc_n)
    _C.backward(
        *_shape(x, h_0, offsets),
        _addresses(weights, directions, 1),
        *(t.data_ptr() for t in (c_0, gates, c)),
        *(0 if t is None else t.data_ptr() for t in (dy, dh_n)),
        *(t.data_ptr() for t in (dgates, dh_0, dc_0)),
    )
    dx = gemms.input_gradient(dgates, weights).view(x.shape) if needs_dx else x.new_empty(0)
    if not needs_dweights:
        return dx, dh_0, dc_0, [x.new_empty(0) for _ in weights]
    rows, y = x.reshape(-1, x.shape[-1]), y.view(-1, directions, hidden)
    bias = len(weights) // directions == 3
    return dx, dh_0, dc_0, gemms.weight_gradients(dgates, rows, y, h_0, batch_sizes, bias)


def _fuses_projection(batch: int, input_size: int, hidden: int) -> bool:
    """Whether the kernel itself multiplies x with weight_ih, or a GEMM over all steps before it."""
    # A step streams all weights from cache for B rows. Measured: pays up to the bounds, by 5-45%.
    weight_bytes = 16 * hidden * (input_size + hidden)
    return batch >= 16 and weight_bytes <= min(_FUSED_BYTES_PER_ROW * batch, _FUSED_BYTES)


def _checked(tensor: Tensor) -> Tensor:
    """The tensor, contiguous, once it is sure that C++ can read it."""
    if tensor.dtype is not torch.float32 or tensor.device.type != "cpu":
        raise RuntimeError(
            "backend='cpu' needs every tensor to be torch.float32 on 'cpu', "
            f"got {tensor.dtype} on {tensor.device.type!r}"
        )
    return tensor.contiguous()


def _checked_weights(
    weights: Sequence[Tensor], directions: int, input_size: int, hidden: int
) -> list[Tensor]:
    arity = len(weights) // directions
    shapes = ((4 * hidden, input_size), (4 * hidden, hidden), (4 * hidden,))
    for index, weight in enumerate(weights):
        if weight.shape != shapes[index % arity]:
            name = ("weight_ih", "weight_hh", "bias")[index % arity]
            raise RuntimeError(
                f"{name} must have shape {shapes[index % arity]} for input_size={input_size} and "
                f"hidden_size={hidden}, got {tuple(weight.shape)}"
            )
    return [_checked(weight) for weight in weights]


def _offsets(batch_sizes: Tensor | None, rows: int, batch: int) -> Tensor | None:
    """``[T + 1]`` int64: packed step t owns the rows from offsets[t] up to offsets[t + 1]."""
    if batch_sizes is None:
        return None
    sizes = batch_sizes.tolist()
    falling = all(a >= b for a, b in pairwise(sizes))
    if sum(sizes) != rows or sizes[0] != batch or sizes[-1] < 0 or not falling:
        raise RuntimeError(
            f"batch_sizes must fall from {batch}, the batch, and sum to {rows}, the rows of the "
            f"packed input, got {sizes}"
        )
    return F.pad(batch_sizes.cumsum(0), (1, 0))


def _shape(x: Tensor, h_0: Tensor, offsets: Tensor | None) -> tuple[int, int, int, int, int, int]:
    """The fields of `Shape` in csrc/lstm.h. `offsets` must outlive the call."""
    directions, batch, hidden = h_0.shape
    steps, address = x.shape[0], 0  # 0: a padded batch
    if offsets is not None:
        steps, address = offsets.shape[0] - 1, offsets.data_ptr()
    return steps, batch, hidden, directions, address, torch.get_num_threads()


def _addresses(weights: Sequence[Tensor], directions: int, index: int) -> tuple[int, int]:
    """The addresses of each direction's weight of that index; 0 for one that is not there."""
    arity = len(weights) // directions
    if index >= arity:
        return 0, 0
    return weights[index].data_ptr(), weights[arity + index].data_ptr() if directions == 2 else 0
