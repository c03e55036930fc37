"""Where the Triton kernels were measured faster than cuDNN: from benchmarks/gpu/choose_sizes.py."""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """What is measured apart: sizes are compared only within a kind."""

    dtype: str
    training: bool
    several_layers: bool
    bidirectional: bool


# fmt: off
# By architecture (90: sm_90) and kind: (hidden_size, batch) and nn.LSTM's time over ours.
MEASURED: dict[int, dict[Kind, dict[tuple[int, int], float]]] = {}
