"""What the C++ kernels require of tensors, checked here and nowhere else: C++ trusts its caller.

T steps, B batch, H hidden, N rows; shapes of the weights as nn.LSTM has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

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
    directions, batch, _ = c_0.shape
    h_directions, h_batch, _ = h_0.shape
    fits = directions in (1, 2) and h_directions == directions and h_batch == batch
    fits = fits and x.dim() == (3 if padded else 2) and (not padded or x.shape[1] == batch)
    projects = fits and weights // directions % 2 == 1
    if not fits or (not projects and h_0.shape[2] != c_0.shape[2]) or h_0.shape[2] == 0:
        raise RuntimeError(
            f"h_0 and c_0 must have shapes [{directions}, B, .] for the B sequences of the input, "
            f"got {list(h_0.shape)} and {list(c_0.shape)} for an input of {list(x.shape)}"
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
    contiguous = []
    for weight, (name, shape) in zip(weights, shapes, strict=True):
        if weight.shape != shape:
            raise RuntimeError(
                f"{name} must have shape {shape} for input_size={x.shape[-1]} and "
                f"hidden_size={hidden}, got {tuple(weight.shape)}"
            )
        contiguous.append(checked(weight, x.dtype))
    return contiguous


def offsets_of(batch_sizes: Tensor, rows: int, batch: int) -> Tensor:
    """``[T + 1]`` int64: packed step t owns the rows from offsets[t] up to offsets[t + 1]."""
    sizes = batch_sizes.tolist()
    falling = all(a >= b for a, b in pairwise(sizes))
    if sum(sizes) != rows or sizes[0] != batch or sizes[-1] < 0 or not falling:
        raise RuntimeError(
            f"batch_sizes must fall from {batch}, the batch, and sum to {rows}, the rows of the "
            f"packed input, got {sizes}"
        )
    return F.pad(batch_sizes.cumsum(0), (1, 0))
