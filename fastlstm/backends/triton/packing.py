"""Weights as the kernels have them: the gates of a unit side by side, units padded with zeros.

H hidden as nn.LSTM has it, H' padded, K the size of what a matrix multiplies, D directions.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import pad


def pack(weights: Sequence[Tensor], units: int, size: int) -> Tensor:
    """``[D, 4*H', K']`` of D matrices ``[4H, K]``; H' is `units`, K' is `size`."""
    gates, columns = weights[0].shape
    packed = weights[0].new_empty(len(weights), units, 4, size)
    if (units, size) != (gates // 4, columns):
        packed.zero_()
    for own, weight in zip(packed, weights, strict=True):
        own[: gates // 4, :, :columns] = weight.view(4, -1, columns).transpose(0, 1)
    return packed.view(len(weights), 4 * units, size)


def pack_bias(weights: Sequence[Sequence[Tensor]], units: int) -> Tensor | None:
    """``[D*4*H']``, the sums of the two biases of each direction; None where there are none."""
    if len(weights[0]) < 4:
        return None
    return pack([(own[2] + own[3])[:, None] for own in weights], units, 1).flatten()


def unpack(packed: Tensor, hidden: int, columns: int) -> Tensor:
    """``[4H, K]`` of ``[4*H', K']``: a gradient as nn.LSTM has it."""
    own = packed.view(-1, 4, packed.shape[-1])[:hidden, :, :columns]
    return own.transpose(0, 1).reshape(4 * hidden, columns)


def padded_units(states: Tensor, units: int) -> Tensor:
    """``[D, B, H']`` of ``[D, B, H]``, contiguous."""
    return pad(states, (0, units - states.shape[-1])).contiguous()
