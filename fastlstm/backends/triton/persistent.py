"""The persistent kernels: fills, starts them, and says what went wrong in one.

N rows of all steps, B batch, H hidden padded, D directions.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

import torch
import triton
from torch import Tensor

from fastlstm.backends.triton import plan
from fastlstm.backends.triton.precision import rounded_to_tf32, uses_tf32
from fastlstm.backends.triton.rows import Rows
from fastlstm.backends.triton.waits import Waits

TRIES = 1 << 20  # loads in vain, of about a microsecond, before a wait is given up


@cache
def device_of(index: int) -> plan.Device:
    """What a plan needs to know of CUDA device `index`."""
    found = torch.cuda.get_device_properties(index)
    shared: int = found.shared_memory_per_block_optin  # type: ignore[attr-defined]
    return plan.Device(found.multi_processor_count, shared, 10 * found.major + found.minor)


def plan_for(x: Tensor, H: int, rows: Rows, directions: int, backward: bool) -> plan.Plan | None:
    """How the persistent kernels run a recurrence of x's dtype and device; None: they do not.

    They multiply float32 in TF32, and need tensor cores that know it and bfloat16 (sm_80), and a
    Triton that has Gluon's products.
    """
    if not x.is_cuda or torch.version.hip or _version() < (3, 6):
        return None
    if torch.cuda.get_device_capability(x.device)[0] < 8:
        return None
    if x.dtype is torch.float32 and not uses_tf32("cuda", x.dtype):
        return None
    bits = 8 * x.itemsize
    return plan.choose(H, rows.batch, directions, bits, device_of(x.device.index), backward)


def fit_beside_each_other(x: Tensor, H: int, rows: Rows, backward: bool) -> bool:
    """Whether the kernels of two layers of one direction have room at the same time."""
    how = plan_for(x, H, rows, 1, backward)
    return how is not None and 2 * how.grid <= device_of(x.device.index).multiprocessors


class Kernels:
    """The persistent kernels of a plan, with the functions of `steps`."""

    def __init__(self, how: plan.Plan) -> None:
        self.how = how

    def forward(
        self,
        gates: Tensor,
        weight_hh: Tensor,
        h_0: Tensor,
        c_0: Tensor,
        y: Tensor,
        c: Tensor,
        rows: Rows,
    ) -> tuple[Tensor, Tensor]:
        """Runs all steps of all directions; arguments and results as of `steps.forward`."""
        (_, directions, H, _), hidden, save = gates.shape, y.shape[-1], c.numel() > 0
        told = y if hidden == H else y.new_empty(*y.shape[:-1], H)
        h_n, c_n = torch.empty_like(h_0), torch.empty_like(c_0)
        tensors = {
            "gates_ptr": gates,
            "weight_ptr": _multiplied(weight_hh),
            "h_0_ptr": _canonical(h_0),
            "c_0_ptr": c_0,
            "y_ptr": told,
            "c_ptr": c,
            "h_n_ptr": h_n,
            "c_n_ptr": c_n,
            **_of_rows(rows, gates.device),
        }
        sizes = {"T": rows.steps, "B": rows.batch, "H": H, "D": directions}
        variant = {"M": plan.SEQUENCES, "SAVE": save, "RAGGED": rows.ragged}
        if isinstance(self.how, plan.Program):
            variant |= {"UNITS": self.how.units}
            _launch(_kernel("program_forward"), self.how.grid, False, **tensors, **sizes, **variant)
        else:
            _fill_with_ones(told)
            _launch_group(
                _kernel("group_forward"), self.how, gates.device, tensors | sizes | variant
            )
        if told is not y:
            y.copy_(told[..., :hidden])
        return h_n, c_n

    def backward(
        self,
        gates: Tensor,
        dgates: Tensor,
        weight_hh: Tensor,
        c: Tensor,
        c_0: Tensor,
        dy: Tensor | None,
        dh_n: Tensor,
        dc_n: Tensor,
        rows: Rows,
    ) -> tuple[Tensor, Tensor]:
        """BPTT of `forward`; arguments and results as of `steps.backward`."""
        _, directions, H, _ = gates.shape
        if dy is not None and dy.shape[-1] != H:
            dy = torch.nn.functional.pad(dy, (0, H - dy.shape[-1]))
        dc_0 = torch.empty_like(dc_n)
        tensors = {
            "gates_ptr": gates,
            "dgates_ptr": dgates,
            "weight_ptr": _multiplied(weight_hh),
            "c_ptr": c,
            "c_0_ptr": c_0,
            "dy_ptr": dh_n if dy is None else dy.contiguous(),
            "dh_n_ptr": dh_n,
            "dc_n_ptr": dc_n,
            "dc_0_ptr": dc_0,
            **_of_rows(rows, gates.device),
        }
        sizes = {"T": rows.steps, "B": rows.batch, "H": H, "D": directions}
        sizes["has_dy"] = int(dy is not None)
        variant: dict[str, Any] = {"M": plan.SEQUENCES, "RAGGED": rows.ragged}
        if isinstance(self.how, plan.Program):
            variant |= {"UNITS": self.how.units, "RESIDENT": self.how.resident}
            _launch(
                _kernel("program_backward"), self.how.grid, False, **tensors, **sizes, **variant
            )
        else:
            _fill_with_ones(dgates)
            tensors["zeros_ptr"] = dgates.new_zeros(4 * H)
            kernel = _kernel("group_backward")
            if self.how.k_parts > 1:
                kernel = _kernel("split_backward")
                tensors["ring_ptr"] = _ring(self.how, gates.device)
                variant["KPARTS"] = self.how.k_parts
                sizes["NPARTS"] = self.how.programs // self.how.k_parts
            _launch_group(kernel, self.how, gates.device, tensors | sizes | variant)
        return torch.bmm(_last(dgates, rows), weight_hh), dc_0


def _last(dgates: Tensor, rows: Rows) -> Tensor:
    """``[D, B, 4*H]``: the dgates of the step that each sequence began with."""
    found = []
    for d in range(dgates.shape[1]):
        last = rows.last(reverse=d == 1)
        if last is None:
            start = rows.starts[rows.steps - 1] if d == 1 else 0
            found.append(dgates[start : start + rows.batch, d].flatten(1))
        else:
            found.append(dgates[last.to(dgates.device), d].flatten(1))
    return torch.stack(found)


def _kernel(name: str) -> Any:
    """Imported when it first runs: an older Triton has no Gluon."""
    module = import_module(f"fastlstm.backends.triton.kernels.{name}")
    return getattr(module, f"{name}_kernel")


def _launch_group(
    kernel: Any, how: plan.Group, device: torch.device, arguments: dict[str, Any]
) -> None:
    waits = Waits.of(device)
    waits.check()
    _launch(
        kernel,
        how.grid,
        True,
        **arguments,
        abort_ptr=waits.abort,
        G=how.programs,
        UNITS=how.units,
        CHUNK=how.chunk,
        CHUNKS=how.chunks,
        RESIDENT=how.resident,
        TILES=how.tiles,
        TRIES=TRIES,
        SM90=waits.sm90,
    )
    waits.report()


def _launch(kernel: Any, grid: int, together: bool, **arguments: Any) -> None:
    """Starts a kernel; `together`: all programs run at once, or the driver refuses."""
    kernel[(grid,)](**arguments, num_warps=plan.WARPS, launch_cooperative_grid=together)


def _fill_with_ones(told: Tensor) -> None:
    """All bits 1: nothing has arrived."""
    told.view(torch.int16 if told.itemsize == 2 else torch.int32).fill_(-1)


def _ring(how: plan.Group, device: torch.device) -> Tensor:
    """Where the programs of groups tell each other sums: of no lap yet."""
    tiles = how.grid // how.programs * how.tiles
    words = plan.SLOTS * tiles * how.k_parts * plan.SEQUENCES * how.programs * how.units
    return torch.zeros(words, device=device)


def _multiplied(weight_hh: Tensor) -> Tensor:
    """The weights as the tensor cores are to see them."""
    tf32 = uses_tf32(weight_hh.device.type, weight_hh.dtype)
    return rounded_to_tf32(weight_hh) if tf32 else weight_hh


def _canonical(h_0: Tensor) -> Tensor:
    """A NaN of all ones would look like a word that has not arrived."""
    return torch.where(h_0.isnan(), torch.nan, h_0)


def _of_rows(rows: Rows, device: torch.device) -> dict[str, Tensor]:
    """Where a ragged batch's steps begin and how long its sequences are, on the device."""
    if not rows.ragged:  # then neither is read
        unread = Waits.of(device).abort
        return {"starts_ptr": unread, "lengths_ptr": unread}
    if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        raise RuntimeError(
            "backend='triton' cannot be captured in a CUDA graph with a packed batch: its sizes "
            "are copied from the CPU at each call"
        )
    starts = torch.tensor(rows.starts, dtype=torch.int32)
    return {
        name: tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
        for name, tensor in {"starts_ptr": starts, "lengths_ptr": rows.lengths().int()}.items()
    }


def _version() -> tuple[int, ...]:
    return tuple(int(part) for part in triton.__version__.split(".")[:2])
