"""Packed weights that a module keeps: to look whether they hold, the kernels read all weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter

from fastlstm import _C
from fastlstm.kept import KeptPrecision
from fastlstm.noise import Noise


class _Kept(NamedTuple):
    of: tuple[object, ...]
    storages: list[torch.UntypedStorage]  # so that nothing else comes to lie at their addresses
    packed: _C.PackedWeights


def kept_weights(
    precision: str, weights: Sequence[Tensor], sizes: tuple[int, ...], noise: Noise
) -> _C.PackedWeights | None:
    """The weights as `precision` keeps them, packed anew where one has been replaced or changed.

    None if they are not kept: then the kernels have a cache. `sizes` are those of `_C.forward`. A
    change is seen by the version counter, which a write through `.data` does not raise.
    """
    if not isinstance(precision, KeptPrecision):
        return None
    for weight in weights:
        if type(weight) is not Parameter or weight.is_inference() or not weight.is_contiguous():
            return None
    noisy = noise.drops or any(noise.rates[1:])
    of = (sizes[2:6], _C.isa(), noisy, *((w.data_ptr(), w._version) for w in weights))
    kept: _Kept | None = precision.packed
    if kept is None or kept.of != of:
        packed = _C.PackedWeights(sizes, str(precision), noisy, [w.data_ptr() for w in weights])
        kept = _Kept(of, [w.untyped_storage() for w in weights], packed)
        precision.packed = kept
    return kept.packed
