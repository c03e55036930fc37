"""The backends: what can run a stack of LSTM layers, and which of them will.

A backend is a module of one of two kinds. A *differentiable* one has `lstm(x, h_0, c_0, weights,
batch_sizes, num_layers)`, made of PyTorch operators that autograd knows. A *kernel* one has
`forward` and `backward` (BPTT), with the arguments of the operators in `fastlstm.ops`. One that is
`takes_rows = True` takes the row map too, as the keyword `rows`: others get packed rows. One that
is `takes_noise = True` takes a `fastlstm.noise.Noise`, as `noise`. `gate_lanes` says how gates lie
in what `forward` saves: see `unpacked`.

Both have `why_not(problem)`: None where they can run the problem, else the reason. One that is not
always the fastest has `slower(problem)` too: None where it is, else the reason why "auto" passes it
over.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

# y, h_n, c_n, and what is saved for backward: below, c, gates
Outputs = tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]
# dx, dh_0, dc_0, dweights
Gradients = tuple[Tensor | None, Tensor, Tensor, list[Tensor | None]]


class Shape(NamedTuple):
    """How large a problem is, for a backend that is faster at some sizes only."""

    hidden_size: int
    batch: int
    num_layers: int
    directions: int
    training: bool  # something needs a gradient
    packed: bool = False


class Problem(NamedTuple):
    """What a backend is chosen by."""

    device: str  # "cpu", "cuda", ...
    dtype: torch.dtype
    proj_size: int
    shape: Shape | None = None


@dataclass(frozen=True)
class Backend:
    """A backend by name, and its module, or what kept that from being imported."""

    name: str
    module: ModuleType | ImportError
    differentiable: bool

    def load(self) -> ModuleType:
        """The module. RuntimeError says what kept it from being imported."""
        if isinstance(self.module, ImportError):
            raise RuntimeError(f"backend={self.name!r} cannot be imported: {self.module}")
        return self.module

    @property
    def takes_rows(self) -> bool:
        """Whether its kernels take a row map; else x is gathered and y scattered around them."""
        return getattr(self.module, "takes_rows", False)

    @property
    def gate_lanes(self) -> int:
        """How many units' values of a gate stand together in what its forward saves."""
        lanes: int = self.load().gate_lanes
        return lanes

    @property
    def takes_noise(self) -> bool:
        """Whether its kernels have dropout on h, and zoneout; else the reference runs them."""
        return getattr(self.module, "takes_noise", False)

    def why_not(self, problem: Problem) -> str | None:
        """None if this backend can run the problem, else the reason, for the message."""
        if isinstance(self.module, ImportError):
            return f"it cannot be imported: {self.module}"
        reason: str | None = self.module.why_not(problem)
        return reason

    def why_not_auto(self, problem: Problem) -> str | None:
        """None if "auto" may take this backend for the problem, else the reason."""
        reason = self.why_not(problem)
        if reason is None and hasattr(self.module, "slower"):
            reason = self.module.slower(problem)
        return reason


def unpacked(c: Tensor, gates: Tensor, hidden: int, lanes: int) -> tuple[Tensor, Tensor]:
    """What `forward` saves, for a user: c ``[L, rows, D*H]``, gates ``[L, rows, 4, D*H]``.

    `c` is ``[L, rows, D*H']`` and `gates` are ``[L, rows, D, H'/lanes, 4, lanes]`` as one row.
    """
    layers, rows, width = c.shape
    units = padded(hidden)
    directions = width // units
    by_unit = gates.view(layers, rows, directions, units // lanes, 4, lanes).permute(
        0, 1, 4, 2, 3, 5
    )
    by_unit = by_unit.reshape(layers, rows, 4, directions, units)[..., :hidden].flatten(3)
    return c.view(layers, rows, directions, units)[..., :hidden].flatten(2).to(gates.dtype), by_unit


def padded(hidden: int) -> int:
    """H rounded up to whole vectors of any kernel, as in what is saved for backward."""
    return -(-hidden // 16) * 16  # kPadding in csrc/lstm.h


_backends: dict[str, Backend] = {}


def register(name: str, module: str, *, differentiable: bool) -> None:
    """Makes a backend known; `auto` tries them in the order in which they were registered.

    The module is imported here, since a compiler that traces a layer cannot import it. What is
    heavy, such as triton, the module itself imports when it is first needed.
    """
    try:
        _backends[name] = Backend(name, import_module(module), differentiable)
    except ImportError as error:
        _backends[name] = Backend(name, error, differentiable)


def names() -> tuple[str, ...]:
    """The known backends, those that `auto` prefers first."""
    return tuple(_backends)


def get(name: str) -> Backend:
    """The backend of that name. ValueError if there is none."""
    if name not in _backends:
        known = ", ".join(map(repr, ("auto", *_backends)))
        raise ValueError(f"backend must be one of {known}, got {name!r}")
    return _backends[name]


def select(problem: Problem, wanted: str = "auto") -> Backend:
    """The backend that runs `problem`: the one asked for, or for "auto" the first that can.

    Raises:
        ValueError: no backend has that name.
        RuntimeError: the backend asked for cannot run the problem. It never falls back.
    """
    if wanted == "auto":
        return next(b for b in _backends.values() if b.why_not_auto(problem) is None)
    backend = get(wanted)
    reason = backend.why_not(problem)
    if reason is not None:
        raise RuntimeError(
            f"backend={wanted!r} cannot run this LSTM: {reason}. Use backend='auto' to fall back."
        )
    return backend


register("cpu", "fastlstm.backends.cpu", differentiable=False)
register("triton", "fastlstm.backends.triton", differentiable=False)
register("aten", "fastlstm.backends.aten", differentiable=True)
register("reference", "fastlstm.backends.reference", differentiable=True)

if isinstance(_backends["cpu"].module, ImportError):
    warnings.warn(
        "fastlstm was built without its C++ kernels: on a CPU it runs PyTorch's own LSTM, "
        "backend='aten'. With a C++ compiler, 'pip install --force-reinstall --no-cache-dir "
        f"--no-deps fastlstm' builds them. ({_backends['cpu'].module})",
        RuntimeWarning,
        stacklevel=2,
    )
