"""What the C++ kernels require of tensors, checked here and nowhere else: C++ trusts its caller.

T steps, B batch, H hidden, N rows; shapes of the weights as nn.LSTM has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise

import torch
from torch import Tensor

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


def check_states(x: Tensor, h_0: Tensor, c_0: Tensor, padded: bool, weights: int) -> None:
    """Raises RuntimeError unless h_0 and c_0 are of as many directions and sequences as x is."""
    shape, h_shape, c_shape = x.shape, h_0.shape, c_0.shape
    directions, batch, hidden = c_shape if len(c_shape) == 3 else (0, 0, 0)
    h_directions, h_batch, output = h_shape if len(h_shape) == 3 else (0, 0, 0)
    fits = directions in (1, 2) and h_directions == directions and h_batch == batch
    if not fits or len(shape) != (3 if padded else 2) or (padded and shape[1] != batch):
        form = "[T, B, I]" if padded else "[N, I] with batch_sizes"
        raise RuntimeError(
            f"h_0 and c_0 must have shapes [D, B, .], D = 1 or 2, for the B sequences of an input "
            f"{form}, got {list(h_shape)} and {list(c_shape)} for an input {list(shape)}"
        )
    projects = weights // directions % 2 == 1
    if output == 0 or (output != hidden and not projects):
        raise RuntimeError(
            f"h_0 must have shape {list(c_shape)} as c_0 has, or [D, B, P] for weight_hr [P, H], "
            f"P at least 1, got {list(h_shape)} with {weights} weights"
        )


@lru_cache
def _named_shapes(
    arity: int, input_size: int, hidden: int, output: int
) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """The names and shapes of the weights of one direction."""
    gates = 4 * hidden
    biases = (("bias_ih", (gates,)), ("bias_hh", (gates,))) if arity > 3 else ()
    projection = (("weight_hr", (output, hidden)),) if arity % 2 else ()
    products = ("weight_ih", (gates, input_size)), ("weight_hh", (gates, output))
    return (*products, *biases, *projection)


def checked_weights(weights: Sequence[Tensor], x: Tensor, h_0: Tensor, c_0: Tensor) -> list[Tensor]:
    """The weights of all directions, contiguous, once their shapes fit x, h_0 and c_0."""
    directions, _, hidden = c_0.shape
    arity = len(weights) // directions
    shapes = _named_shapes(arity, x.shape[-1], hidden, h_0.shape[2]) * directions
    if len(weights) != len(shapes):
        raise RuntimeError(
            "weights must be weight_ih, weight_hh, perhaps both biases and perhaps weight_hr of "
            f"each of {directions} directions, got {len(weights)}"
        )
    contiguous = []
    for weight, (name, shape) in zip(weights, shapes, strict=True):
        if weight.shape != shape:
            raise RuntimeError(
                f"{name} must have shape {shape} for input_size={x.shape[-1]} and "
                f"hidden_size={hidden}, got {tuple(weight.shape)}"
            )
        contiguous.append(checked(weight, x.dtype))
    return contiguous


def check_saved(x: Tensor, h_0: Tensor, c_0: Tensor, y: Tensor, c: Tensor, gates: Tensor) -> None:
    """Raises RuntimeError unless y, c and gates have the shapes that forward gives them."""
    directions, _, hidden = c_0.shape
    rows, width = x.shape[:-1], padded(hidden)
    _check_shape("y", y, (*rows, directions * h_0.shape[2]))
    _check_shape("c", c, (rows.numel(), directions, width))
    _check_shape("gates", gates, (rows.numel(), directions, 4 * width))


def checked_gradient(name: str, gradient: Tensor, of: Tensor) -> Tensor:
    """The gradient, contiguous, once it is sure that it is one of the tensor `of`."""
    _check_shape(name, gradient, of.shape)
    return checked(gradient, of.dtype)


def _check_shape(name: str, tensor: Tensor, shape: Sequence[int]) -> None:
    if tensor.shape != shape:
        raise RuntimeError(f"{name} must have shape {tuple(shape)}, got {tuple(tensor.shape)}")


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
