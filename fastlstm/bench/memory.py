"""Bytes that a training step takes: at its peak, and from forward to backward."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import torch
from torch import Tensor, nn

from fastlstm.bench.timing import Call


def saved_bytes(module: nn.Module, forward: Call, given: Tensor) -> int:
    """Bytes that autograd keeps from forward to backward, beside the weights and the input."""
    known = {tensor.untyped_storage().data_ptr() for tensor in (given, *module.parameters())}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = forward()
    del result
    return sum(kept.values())


def peak_bytes(step: Call, device: str) -> int | None:
    """Bytes at the peak of a step above what was there before; None where the system won't tell.

    On a GPU of torch's allocator. On a CPU of the resident size of the process, which counts
    whatever a library allocates by whatever means.
    """
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    _return_freed_memory()
    if not _reset_peak():
        return None
    before = _status("VmRSS")
    step()
    return max(0, _status("VmHWM") - before)


def _return_freed_memory() -> None:
    """Give the heap's free pages back, so that a step that needs them is seen to."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _reset_peak() -> bool:
    """Set VmHWM to VmRSS (Linux, proc_pid_clear_refs(5))."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _status(name: str) -> int:
    """A size of this process in bytes."""
    found = re.search(rf"{name}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None, name
    return int(found[1]) * 1024
