"""One side of benchmarks/regression: `python -P worker.py FOLDER [--threads N]`.

It imports fastlstm from FOLDER and answers requests, a line of JSON each, until its input ends;
while it waits it is blocked. It needs torch and `fastlstm.LSTM` only: every commit has that.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

INFERENCE, TRAINING = "inference", "forward+backward"
PEER, OURS = "nn.LSTM", "fastlstm"
DURATION = 0.02  # of a timing, at least; in seconds
WARM_UP = 0.01  # seconds: the OpenMP threads of the process before spin for 5 to 7 ms


def check_origin(folder: Path) -> None:
    """RuntimeError if any of fastlstm was imported from elsewhere, as an editable install may."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.partition(".")[0] != "fastlstm" or file is None:
            continue
        if not Path(file).resolve().is_relative_to(folder.resolve()):
            raise RuntimeError(f"{name} must come from {folder}, it came from {file}")


def results(module: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Output, states and all gradients, for gradients of the results that are no constants."""
    x = x.detach().requires_grad_()
    output, (h_n, c_n) = module(x)
    named = {"output": output, "h_n": h_n, "c_n": c_n}
    generator = torch.Generator().manual_seed(2)
    given = [torch.randn(t.shape, generator=generator).to(t.dtype) for t in named.values()]
    inputs = {"input": x, **dict(module.named_parameters())}
    gradients = torch.autograd.grad(list(named.values()), list(inputs.values()), given)
    named |= {f"d {name}": d for name, d in zip(inputs, gradients, strict=True)}
    return {name: tensor.detach() for name, tensor in named.items()}


def difference(got: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest value; infinite if it is no number."""
    if got.shape != expected.shape or got.dtype != expected.dtype:
        return float("inf")
    largest = expected.double().abs().max().item()
    distance = (got.double() - expected.double()).abs().max().item()
    relative = distance / (largest or 1.0)
    return relative if relative == relative else float("inf")


def disagreements(got: dict[str, Tensor], expected: dict[str, Tensor]) -> list[str]:
    """What differs by more than rounding does, sqrt(eps) of the largest value; a line for each."""
    if got.keys() != expected.keys():
        return [f"the tensors are {sorted(got)} and {sorted(expected)}"]
    lines = []
    for name, tensor in got.items():
        limit = torch.finfo(tensor.dtype).eps ** 0.5
        found = difference(tensor, expected[name])
        if found > limit:
            lines.append(f"{name} differs by {found:.1e} of its largest value, limit {limit:.1e}")
    return lines


def calls_of(module: nn.Module, x: Tensor) -> dict[str, Callable[[], object]]:
    """What is timed, by the measure's name."""
    x = x.detach().requires_grad_()
    ones = torch.ones_like(module(x)[0])

    def inference() -> None:
        with torch.no_grad():
            module(x)

    def training() -> None:
        module.zero_grad()
        x.grad = None
        module(x)[0].backward(ones)

    return {INFERENCE: inference, TRAINING: training}


def seconds(call: Callable[[], object]) -> float:
    """Wall time of a call: the lower quartile, for what disturbs a call only makes it slower."""
    end = time.perf_counter() + WARM_UP
    call()
    while time.perf_counter() < end:
        call()
    times = [time.perf_counter()]
    while times[-1] < times[0] + DURATION:
        call()
        times.append(time.perf_counter())
    return sorted(b - a for a, b in pairwise(times))[(len(times) - 1) // 4]


def cpu_name() -> str:
    """The processor's model."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(": ")[2]
    return platform.machine()


class Worker:
    """The answers: each method is a request, its arguments the request's."""

    def __init__(self, folder: Path) -> None:
        """Import fastlstm. RuntimeError if it is not the folder's."""
        sys.path.insert(0, str(folder))
        import fastlstm

        check_origin(folder)
        self._folder = folder
        self._make_ours = fastlstm.LSTM
        self._calls: dict[tuple[str, str], dict[str, Callable[[], object]]] = {}

    def conditions(self) -> str:
        """What the times depend on, of what this process knows."""
        return f"{cpu_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}"

    def prepare(self, shape: str, dtype: str, results_to: str) -> None:
        """Make both modules with the same weights, and their input; save the results of ours."""
        I, H, layers, B, T = map(int, shape.split(","))
        torch.manual_seed(0)
        peer = nn.LSTM(I, H, layers, dtype=getattr(torch, dtype))
        ours = self._make_ours(I, H, layers, dtype=getattr(torch, dtype))
        ours.load_state_dict(peer.state_dict())
        x = torch.randn(T, B, I).to(getattr(torch, dtype))
        torch.save(results(ours, x), results_to)
        check_origin(self._folder)  # of what was imported when it was first needed, too
        self._calls |= {(OURS, shape): calls_of(ours, x), (PEER, shape): calls_of(peer, x)}

    def compare(self, got: str, expected: str) -> list[str]:
        """What differs between two files of results."""
        return disagreements(torch.load(got), torch.load(expected))

    def time(self, provider: str, shape: str, measure: str) -> float:
        """Seconds of a call."""
        return seconds(self._calls[provider, shape][measure])


def answer(worker: Worker, line: str) -> dict[str, Any]:
    """The answer to one request: its value, or what went wrong."""
    request = json.loads(line)
    try:
        return {"value": getattr(worker, request.pop("do"))(**request)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def main() -> int:
    """Answer until there are no more requests."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is not an answer
    try:
        worker = Worker(args.folder)
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=answers)
        return 1
    for line in sys.stdin:
        print(json.dumps(answer(worker, line)), file=answers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
