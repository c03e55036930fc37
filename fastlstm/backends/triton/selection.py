"""Whether the Triton kernels are faster than cuDNN for a problem, by what was measured."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from fastlstm.backends import Problem, Shape
from fastlstm.backends.triton.measured import MEASURED, Kind
from fastlstm.backends.triton.precision import float32_is_tf32

LEAST = 1.05  # nn.LSTM's time over ours, of all measured sizes around: nobody is to be slower


def slower(problem: Problem) -> str | None:
    """None if all that was measured around the problem's size was faster, else a reason."""
    if problem.device != "cuda" or problem.shape is None:
        return "it is for CUDA, and chosen by size"
    if not MEASURED:  # nor ask, under a compiler, what it cannot trace
        return "its kernels were not yet measured against cuDNN on any GPU"
    if torch.version.hip:
        return "it was measured on NVIDIA's GPUs only"
    if problem.dtype is torch.float32 and not float32_is_tf32():
        return "torch's flags ask for float32 products in IEEE, where only its steps run"
    architecture = _architecture()
    if architecture not in MEASURED:
        return f"its kernels were not yet measured against cuDNN on sm_{architecture}"
    if problem.shape.packed:
        return "packed batches were not measured"
    kind = kind_of(problem.dtype, problem.shape)
    ratio = around(MEASURED[architecture].get(kind, {}), problem.shape)
    size = f"hidden_size {problem.shape.hidden_size}, batch {problem.shape.batch}"
    if ratio is None:
        return f"{size} is outside of what was measured"
    if ratio < LEAST:
        return f"at {size} it was measured at {ratio:.2f}x of cuDNN"
    return None


def kind_of(dtype: torch.dtype, shape: Shape) -> Kind:
    """The kind of problem within which sizes are compared."""
    name = str(dtype).removeprefix("torch.")
    return Kind(name, shape.training, shape.num_layers > 1, shape.directions == 2)


def around(ratios: Mapping[tuple[int, int], float], shape: Shape) -> float | None:
    """The least ratio of the measured sizes next to a size, below and above; None: outside."""
    found = []
    for hidden_size in _neighbours({h for h, _ in ratios}, shape.hidden_size):
        batches = {b for h, b in ratios if h == hidden_size}
        for batch in _neighbours(batches, shape.batch):
            found.append(ratios[hidden_size, batch])
        if not _neighbours(batches, shape.batch):
            return None
    return min(found) if found else None


def _neighbours(measured: set[int], size: int) -> set[int]:
    """The nearest of the measured on both sides; none if there is one side only."""
    below = max((m for m in measured if m <= size), default=None)
    above = min((m for m in measured if m >= size), default=None)
    return set() if below is None or above is None else {below, above}


def _architecture() -> int:
    found = torch.cuda.get_device_properties(torch.cuda.current_device())
    return 10 * found.major + found.minor
