"""Compiles the Triton kernels of the grid, several at a time: `python benchmarks/gpu/compile.py`.

Triton keeps what it compiled on the disk: later stages, which are timed, find it there. Each case
is called once, with few steps. Exit codes: 0 all ran, 1 one did not, 77 there is no GPU.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from dataclasses import replace

import torch

from fastlstm.bench.case import TRAINING, Case
from fastlstm.bench.grid import choose_cases
from fastlstm.bench.layer import make_call
from fastlstm.verify import make_ours

NOTHING = 77
DTYPES = ("float32", "bfloat16", "float16")
WORKERS = min(12, os.cpu_count() or 1)


def run(case: Case) -> str | None:
    """None, or what kept the case from running."""
    module = make_ours(case.make_lstm("cuda"), "triton")
    try:
        with torch.no_grad():
            module(case.make_input("cuda", requires_grad=False))
        make_call(module, case, TRAINING, "cuda")()
        torch.cuda.synchronize()
    except Exception as error:
        return f"{case}: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return None


def main() -> int:
    if not torch.cuda.is_available():
        print("no GPU here: nothing to compile for")
        return NOTHING
    cases = [replace(case, T=2) for case in choose_cases(True, [], DTYPES, "cuda")]
    with multiprocessing.get_context("spawn").Pool(WORKERS) as pool:
        failures = [found for found in pool.imap_unordered(run, cases) if found is not None]
    print(*failures, f"{len(cases) - len(failures)} of {len(cases)} cases ran", sep="\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
