"""When a kernel may be called at once: nothing that the dispatcher serves would see the call."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import Parameter


def is_plain(tensors: Iterable[Tensor | None]) -> bool:
    """Whether no compiler, mode, transform or profiler looks on, and each tensor is just memory.

    Saves the dispatcher's way to a kernel in Python, 8 us.
    """
    if (
        torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack()
        or torch._C._len_torch_function_stack()
        or torch._C._are_functorch_transforms_active()
        or torch._C._get_tracing_state() is not None
        or torch.autograd.profiler._is_profiler_enabled
    ):
        return False
    for tensor in tensors:
        kind = type(tensor)
        if kind is Parameter or tensor is None:
            continue
        # By type a Tensor can still be a negated view, zeros without memory or a wrapper.
        if kind is not Tensor or torch._C._dispatch_keys(tensor).raw_repr() not in _PLAIN_KEYS:
            return False
    return True


def _plain_keys() -> set[int]:
    """The dispatch keys of tensors that are just memory, with autograd and made without it."""
    key, of = torch._C.DispatchKey, torch._C.DispatchKeySet
    found = set()
    for device in ("CPU", "CUDA"):
        inference = of(getattr(key, device)) | of(getattr(key, f"Autocast{device}"))
        autograd = of(getattr(key, f"Autograd{device}")) | of(key.ADInplaceOrView)
        found |= {inference.raw_repr(), (inference | autograd).raw_repr()}
    return found


_PLAIN_KEYS = _plain_keys()
