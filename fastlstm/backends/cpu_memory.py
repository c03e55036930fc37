"""Memory of large tensors that the C++ kernels keep from call to call."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from fastlstm import _C

KEPT = 1 << 18  # elements, and more


def new(like: Tensor, shape: Sequence[int], dtype: torch.dtype | None = None) -> Tensor:
    """`like.new_empty(shape, dtype=dtype)`.

    Fresh pages of a large one would cost more than many a layer: its memory comes from the kernels'
    own, and goes back there. Its storage cannot be resized.
    """
    if prod(shape) < KEPT:
        return like.new_empty(shape, dtype=dtype)
    bfloat16 = (dtype or like.dtype) is torch.bfloat16
    return torch.utils.dlpack.from_dlpack(_C.pooled_tensor(shape, bfloat16))


def like(tensor: Tensor) -> Tensor:
    """`torch.empty_like(tensor)`, with memory as `new`."""
    return torch.empty_like(tensor) if tensor.numel() < KEPT else new(tensor, tensor.shape)
