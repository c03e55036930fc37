"""The kernels' side of `fastlstm.stream`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastlstm import _C
from fastlstm.backends.cpu_checks import checked_weights


def make_stream(
    weights: Sequence[Sequence[Tensor]],
    batch: int,
    projection: int,
    precision: str,
    zoneout: tuple[float, float],
) -> _C.Stream:
    """The kernels' side of a `fastlstm.stream.Stream`, its state zero, without weights yet."""
    weight_ih = weights[0][0]
    held = precision if weight_ih.dtype is torch.float32 else ""
    sizes = batch, weight_ih.shape[1], weight_ih.shape[0] // 4, projection, len(weights)
    return _C.Stream(*sizes, weight_ih.dtype is torch.bfloat16, held, *zoneout)


def set_stream_weights(
    stream: _C.Stream, weights: Sequence[Sequence[Tensor]], dtype: torch.dtype, *sizes: int
) -> None:
    """Packs the weights of each layer, which must be of `dtype`; `sizes` are I, O and H."""
    layers = len(weights)
    x, h_0, c_0 = (torch.empty((layers, 0, size), dtype=dtype, device="cpu") for size in sizes)
    flat = [weight.detach() for own in weights for weight in own]
    contiguous = checked_weights(flat, x, h_0, c_0, layers)
    addresses = [weight.data_ptr() for weight in contiguous]
    arity = len(addresses) // layers
    for layer in range(layers):
        stream.set_weights(layer, addresses[layer * arity : (layer + 1) * arity])
