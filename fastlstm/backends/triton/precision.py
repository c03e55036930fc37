"""How exactly float32 is multiplied: as cuDNN multiplies it in nn.LSTM, which torch's flags say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


def float32_is_tf32() -> bool:
    """Whether nn.LSTM multiplies float32 in TF32, of 10 bits, on a GPU.

    `torch.backends.cudnn.rnn.fp32_precision` says so, or what it inherits from, the older
    `torch.backends.cudnn.allow_tf32` among it.
    """
    rnn: Any = torch.backends.cudnn.rnn
    return bool(rnn.fp32_precision == "tf32")


def uses_tf32(device: str, dtype: torch.dtype) -> bool:
    """Whether nn.LSTM multiplies tensors of that dtype in TF32 there."""
    return device == "cuda" and dtype is torch.float32 and float32_is_tf32()


@contextmanager
def like_cudnn(x: Tensor) -> Iterator[None]:
    """cuBLAS multiplies as cuDNN would here: its own flag says float32 is IEEE by default.

    The flag is the process's: a product that another Python thread starts meanwhile follows it too.
    """
    matmul = torch.backends.cuda.matmul
    wanted = "tf32" if uses_tf32(x.device.type, x.dtype) else "ieee"
    before = matmul.fp32_precision
    is_wanted = before == wanted or (before, wanted) == ("none", "ieee")  # what none is for a GEMM
    if x.dtype is not torch.float32 or not x.is_cuda or is_wanted:
        yield
        return
    matmul.fp32_precision = wanted
    try:
        yield
    finally:
        matmul.fp32_precision = before


def rounded_to_tf32(weights: Tensor) -> Tensor:
    """Float32 numbers of 10 bits, halves away from zero, as the GPU's cvt.rna makes them."""
    bits = weights.view(torch.int32)
    rounded = ((bits + 0x1000) & ~0x1FFF).view(torch.float32)
    return torch.where(weights.isfinite(), rounded, weights)
