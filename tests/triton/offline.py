"""Compiles the GPU kernels where there is no GPU, to see what machine code they become.

`python tests/triton/offline.py 90` prints facts about all kernels for sm_90 as JSON. It needs
fastlstm and Triton, of any version that has Gluon, without the interpreter.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import machine_code
import torch
import triton
from offline_cases import Case, case_of, cases, of_limit
from offline_control import forbidden_kernel
from offline_layouts import layouts_kernel
from triton.backends.compiler import GPUTarget

from fastlstm.backends.triton import persistent, plan, steps, waits
from fastlstm.backends.triton.kernels import cell
from fastlstm.backends.triton.rows import Rows


class Driver:
    """In place of a GPU's driver: which architecture to compile for, and nothing to run on."""

    def __init__(self, architecture: int) -> None:
        self.target = GPUTarget("cuda", architecture, 32)

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


class Compiled(Exception):
    """A kernel was to be launched: it has been compiled instead, and nothing else can follow."""


def launch(kernel: Any, grid: int, together: bool, **arguments: Any) -> None:
    arguments |= {"num_warps": plan.WARPS, "launch_cooperative_grid": together}
    raise Compiled(kernel.warmup(grid=(grid,), **arguments))


def compiled(case: Case, sm90: bool) -> Any:
    """A case's kernel, as its backend specializes it."""
    persistent._launch = launch
    waits.Waits.of(torch.device("cpu")).sm90 = sm90
    H, D, dtype = case.hidden, case.directions, getattr(torch, case.dtype)
    B = plan.SEQUENCES * 4
    rows = Rows.packed(torch.tensor([B, B - case.ragged]), B)
    assert rows.ragged == case.ragged
    gates, y = (
        torch.empty(rows.total, D, H, 4, dtype=dtype),
        torch.empty(rows.total, D, H, dtype=dtype),
    )
    weight_hh, h = torch.empty(D, 4 * H, H, dtype=dtype), torch.empty(D, B, H, dtype=dtype)
    c, c_0 = torch.empty(rows.total, D, H), torch.empty(D, B, H)
    try:
        kernels = persistent.Kernels(case.how)
        if case.backward:
            kernels.backward(gates, torch.empty_like(gates), weight_hh, c, c_0, y, h, c_0, rows)
        else:
            kernels.forward(gates, weight_hh, h, c_0, y, c if case.saves else c[:0], rows)
    except Compiled as error:
        return error.args[0]


def facts_of(name: str, architecture: int) -> dict[str, Any]:
    """What the machine code of a case is made of."""
    triton.runtime.driver.set_active(Driver(architecture))
    kernel = compiled(every_case(architecture)[name], architecture >= 90)
    return {**machine_code.read(kernel.asm["cubin"]), "shared": kernel.metadata.shared}


def every_case(architecture: int) -> dict[str, Case]:
    """What a plan may choose, and one that is too much for the registers."""
    too_much = of_limit(plan.Limit(16, 1, 256), 16, backward=False)
    return cases(architecture) | {"too-much": case_of(too_much, 16, backward=False)}


def compile_cell(dtype: str, architecture: int) -> list[int]:
    """The bytes of machine code of the plain kernels."""
    triton.runtime.driver.set_active(Driver(architecture))
    of = getattr(torch, dtype)
    gates, states = torch.empty(8, 32, 4, dtype=of), torch.empty(8, 32, dtype=of)
    c = torch.empty(8, 32)
    blocks = {"BLOCK_B": steps.BLOCK_B, "BLOCK_H": steps.BLOCK_H}
    forward = cell.cell_forward_kernel.warmup(
        *(gates, gates, states, c, states, c, 8, 32, 32, 128, 32, 32),
        SAVE=True,
        grid=(1, 1),
        **blocks,
    )
    backward = cell.cell_backward_kernel.warmup(
        *(gates, gates, c, c, c, states, states, c, 8, 8, 32, 32, 128, 32, 32),
        HAS_DY=True,
        grid=(1, 1),
        **blocks,
    )
    return [len(kernel.asm["cubin"]) for kernel in (forward, backward)]


def compiles(bits: int, wrong: bool, architecture: int) -> bool:
    """Whether the layouts are what the exchange takes them for."""
    triton.runtime.driver.set_active(Driver(architecture))
    try:
        layouts_kernel.warmup(
            torch.empty(1, dtype=torch.int32), bits, wrong, grid=(1,), num_warps=8
        )
    except triton.CompilationError:
        return False
    return True


def main() -> None:
    architecture = int(sys.argv[1])
    names = list(every_case(architecture))
    dtypes = ("float32", "bfloat16", "float16")
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        facts = pool.map(partial(facts_of, architecture=architecture), names)
        found = dict(zip(names, facts, strict=True))
    found["cell"] = {dtype: compile_cell(dtype, architecture) for dtype in dtypes}
    x = torch.empty(256, dtype=torch.int32)
    control = forbidden_kernel.warmup(x, plan.WARPS, grid=(1,), num_warps=plan.WARPS)
    found["forbidden"] = machine_code.read(control.asm["cubin"])
    found["layouts"] = [
        [compiles(bits, wrong, architecture) for bits in (16, 32)] for wrong in (False, True)
    ]
    print(json.dumps({"triton": triton.__version__, "kernels": found}))


if __name__ == "__main__":
    main()
