"""What the C++ kernels require of tensors: they trust their caller.

T steps, B batch, I input, H hidden, P projection, L layers, D directions, N rows; shapes of the
weights as nn.LSTM has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from math import prod

import torch
from torch import Tensor

from fastlstm import _C
from fastlstm.backends import padded

DTYPES = (torch.float32, torch.bfloat16)


def checked(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """The tensor, contiguous, once it is sure that C++ can read it."""
    if tensor.dtype is not dtype or dtype not in DTYPES or not tensor.is_cpu:
        raise RuntimeError(
            "backend='cpu' needs every tensor on 'cpu' in the dtype of x, torch.float32 or "
            f"torch.bfloat16, got {tensor.dtype} on {tensor.device.type!r}"
        )
    return tensor if tensor.is_contiguous() else tensor.contiguous()


def check_states(
    x: Tensor, h_0: Tensor, c_0: Tensor, padded: bool, num_layers: int, weights: int
) -> None:
    """Raises RuntimeError unless h_0 and c_0 are of as many layers and sequences as x needs."""
    shape, h_shape, c_shape = x.shape, h_0.shape, c_0.shape
    states, batch, hidden = c_shape if len(c_shape) == 3 else (0, 0, 0)
    h_states, h_batch, output = h_shape if len(h_shape) == 3 else (0, 0, 0)
    fits = states in (num_layers, 2 * num_layers) and h_states == states and h_batch == batch
    fits = fits and num_layers > 0
    if not fits or len(shape) != (3 if padded else 2) or (padded and shape[1] != batch):
        form = "[T, B, I]" if padded else "[N, I] with batch_sizes"
        raise RuntimeError(
            "h_0 and c_0 must have shapes [L*D, B, .], D = 1 or 2, for the B sequences of an input "
            f"{form} and L = num_layers = {num_layers}, got {list(h_shape)} and {list(c_shape)} "
            f"for an input {list(shape)}"
        )
    projects = weights // states % 2 == 1
    if output == 0 or (output != hidden and not projects):
        raise RuntimeError(
            f"h_0 must have shape {list(c_shape)} as c_0 has, or [L*D, B, P] for weight_hr [P, H], "
            f"P at least 1, got {list(h_shape)} with {weights} weights"
        )


@lru_cache
def _named_shapes(
    arity: int, input_size: int, hidden: int, output: int, layers: int, directions: int
) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """The names and shapes of the weights of all layers."""
    gates = 4 * hidden
    biases = (("bias_ih", (gates,)), ("bias_hh", (gates,))) if arity > 3 else ()
    projection = (("weight_hr", (output, hidden)),) if arity % 2 else ()
    rest = ("weight_hh", (gates, output)), *biases, *projection
    first = (("weight_ih", (gates, input_size)), *rest) * directions
    other = (("weight_ih", (gates, directions * output)), *rest) * directions
    return first + other * (layers - 1)


def checked_weights(
    weights: Sequence[Tensor], x: Tensor, h_0: Tensor, c_0: Tensor, num_layers: int
) -> list[Tensor]:
    """The weights of all layers, contiguous, once their shapes fit x, h_0 and c_0."""
    states, _, hidden = c_0.shape
    sizes = x.shape[-1], hidden, h_0.shape[2], num_layers, states // num_layers
    shapes = _named_shapes(len(weights) // states, *sizes)
    if len(weights) != len(shapes):
        raise RuntimeError(
            "weights must be weight_ih, weight_hh, perhaps both biases and perhaps weight_hr of "
            f"each of {states} directions of layers, got {len(weights)}"
        )
    contiguous = []
    for weight, (name, shape) in zip(weights, shapes, strict=True):
        if weight.shape != shape:
            raise RuntimeError(
                f"{name} must have shape {shape} for input_size={x.shape[-1]}, "
                f"hidden_size={hidden} and num_layers={num_layers}, got {tuple(weight.shape)}"
            )
        contiguous.append(checked(weight, x.dtype))
    return contiguous


def check_results(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    num_layers: int,
    packed: int,
    results: Sequence[Tensor | None],
    arriving: Sequence[Tensor | None],
    drops: bool,
) -> None:
    """Raises RuntimeError unless the results of forward have its shapes, and their gradients too.

    `packed` is N; `results` are y, below, c and gates; `arriving` are dy, dh_n and dc_n;
    `drops`: whether h is dropped.
    """
    h_shape, c_shape = h_0.shape, c_0.shape
    directions = c_shape[0] // num_layers
    *steps, _ = x.shape
    width, features = directions * padded(c_shape[2]), directions * h_shape[2]
    y_shape = (*steps, features)
    count = num_layers - 1 + num_layers * drops
    below = (count, packed, features) if count else (0,)
    if count and results[1] is None:
        raise RuntimeError(f"below must have shape {below}, got None")
    kept = below, (num_layers, packed, width), (num_layers, packed, 4 * width)
    shapes = y_shape, *kept, y_shape, h_shape, c_shape
    for n, (tensor, shape) in enumerate(zip((*results, *arriving), shapes, strict=True)):
        if tensor is not None and tensor.shape != shape:
            name = ("y", "below", "c", "gates", "dy", "dh_n", "dc_n")[n]
            raise RuntimeError(f"{name} must have shape {tuple(shape)}, got {tuple(tensor.shape)}")


def check_rows(
    rows: Tensor | None, batch_sizes: Tensor | None, x: Tensor
) -> tuple[Tensor | None, int]:
    """The row map, contiguous, once it is one of rows of x, and how many packed rows there are."""
    if rows is None:
        return None, prod(x.shape[:-1])
    if batch_sizes is None:
        raise RuntimeError("rows must come with batch_sizes, got rows alone")
    if rows.dim() != 1 or rows.dtype is not torch.int64 or not rows.is_cpu:
        raise RuntimeError(
            "rows must be one row of torch.int64 on the CPU, got "
            f"{rows.dtype}, {list(rows.shape)} on {rows.device.type!r}"
        )
    rows, count, room = rows.contiguous(), rows.shape[0], x.shape[0]
    wrong = _C.misfit(rows.data_ptr(), count, room)
    if wrong >= 0:
        raise RuntimeError(
            f"rows must be of the {room} rows of the input, from 0 on, and no two the same, got "
            f"{int(rows[wrong])} at {wrong}"
        )
    return rows, count


def offsets_of(batch_sizes: Tensor, rows: int, batch: int) -> Tensor:
    """``[T + 1]`` int64: packed step t owns the rows from offsets[t] up to offsets[t + 1]."""
    sizes = batch_sizes.tolist()
    if batch_sizes.dim() != 1 or batch_sizes.is_floating_point():
        raise RuntimeError(
            f"batch_sizes must be one row of integers, got {batch_sizes.dtype}, {sizes}"
        )
    falling = all(a >= b for a, b in pairwise(sizes))
    if not sizes or sum(sizes) != rows or sizes[0] != batch or sizes[-1] < 0 or not falling:
        raise RuntimeError(
            f"batch_sizes must fall from {batch}, the batch, and sum to {rows}, the rows of the "
            f"packed input, got {sizes}"
        )
    return torch.tensor([0, *accumulate(sizes)], dtype=torch.int64, device="cpu")
