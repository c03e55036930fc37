"""`fastlstm info`: what this machine would use, and why."""

from __future__ import annotations

import argparse
import platform

import torch

import fastlstm
from fastlstm import backends

_CASES = [
    ("float32", backends.Problem("cpu", torch.float32, 0)),
    ("bfloat16", backends.Problem("cpu", torch.bfloat16, 0)),
    ("float64", backends.Problem("cpu", torch.float64, 0)),
    ("float32, proj_size", backends.Problem("cpu", torch.float32, 64)),
    ("float32, cuda", backends.Problem("cuda", torch.float32, 0)),
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command has no options."""


def run(args: argparse.Namespace) -> int:
    """Prints the versions, the CPU's kernels, and the backend that "auto" takes for each case."""
    print(f"fastlstm {fastlstm.__version__}, torch {torch.__version__}, {platform.machine()}")
    print(f"threads  {torch.get_num_threads()}")
    cpu = backends.get("cpu").module
    if isinstance(cpu, ImportError):
        print(f"kernels  none: {cpu}")
    else:
        print(f"kernels  {cpu.isa()} of {', '.join(cpu.isas())} (FASTLSTM_CPU_ISA chooses)")
    for case, problem in _CASES:
        chosen = backends.select(problem).name
        passed_over = backends.names()[: backends.names().index(chosen)]
        reasons = "".join(
            f"; not {n}: {backends.get(n).why_not_auto(problem)}" for n in passed_over
        )
        print(f"auto     {case:20}-> {chosen}{reasons}")
    return 0
