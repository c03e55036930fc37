"""The same bits every time: `python benchmarks/gpu/races.py [--device cuda] [--backend NAME]`.

Every kernel backend computes a case, forward and backward, again and again, while other work keeps
the device busy: each result must be bitwise the first one's, also for calls on another stream and
on two streams at once. On CUDA a captured graph must replay to the bits of the call it captured,
also for inputs that came later. What `auto` takes of PyTorch's own is reported, not judged.

Exit codes: 0 the same, 1 a difference, which the last line names, 2 a wrong argument.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from busy import load
from calls import DEVICE_DTYPES, Call, Difference, Results, compare, keep, kernel_backends

from fastlstm import backends
from fastlstm.verify_cases import DTYPES, Case

CASES = (
    Case(32, 4, 16, 32),
    Case(128, 1, 256, 256),
    Case(32, 32, 512, 512),
    Case(40, 16, 64, 128, ragged=True),
    Case(40, 8, 64, 128, bidirectional=True),
    Case(32, 8, 64, 128, layers=2),
    Case(300, 8, 64, 128, layers=2),  # on a GPU in a wavefront of chunks
    Case(24, 4, 16, 2048),  # on a GPU step by step, as a CUDA graph
)


def check_repeats(call: Call, repeats: int) -> str:
    """The same bits on every repeat under load; on CUDA every other time on two streams at once."""
    expected = keep(call.both(), str(call))
    side = torch.cuda.Stream() if call.device == "cuda" else None
    with load(call.device) as feed:
        for repeat in range(1, repeats + 1):
            feed()
            where = f"{call}, repeat {repeat}"
            if side is None or repeat % 2:
                compare(call.both(), expected, where)
                continue
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                other = call.both()
            own = call.both()
            torch.cuda.current_stream().wait_stream(side)
            compare(other, expected, f"{where} on a stream beside the default one")
            compare(own, expected, f"{where} on the default stream beside another")
    return f"{repeats} repeats, the same bits"


def capture(run: Callable[[], Results]) -> tuple[torch.cuda.CUDAGraph, Results]:
    """A graph of a function that has run on a stream before, and where its results will be."""
    warm_up = torch.cuda.Stream()
    warm_up.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(warm_up):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(warm_up)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, stream=torch.cuda.Stream()):
            results = run()
    except RuntimeError:
        # after a capture that failed, torch leaves its stream current
        torch.cuda.set_stream(torch.cuda.default_stream())
        raise
    return graph, results


def check_graph(call: Call, training: bool) -> str:
    """A captured graph gives the bits of the call itself, before and after the inputs change."""
    run = call.training if training else call.forward
    what = "graph of forward and backward" if training else "graph of forward"
    where = f"{call}, {what}"
    expected = keep(run(), where)
    try:
        graph, results = capture(run)
    except RuntimeError as error:
        reason = f"not captured: {(str(error).splitlines() or [repr(error)])[0]}"
        if training or call.case.ragged:  # not promised: of packed input, sizes are on the CPU
            return f"{what}: {reason}"
        raise Difference(f"{where}: {reason}") from error
    for when in ("", " after the inputs changed"):
        if when:
            call.change_inputs()
            expected = keep(run(), where + when)
        for replay in range(1, 4):
            with torch.no_grad():
                for tensor in results.values():
                    tensor.fill_(float("nan"))
            graph.replay()
            compare(results, expected, f"{where}, replay {replay}{when}")
    return f"{what}: replays give the same bits"


def targets(device: str, wanted: Sequence[str]) -> list[tuple[str, Case]]:
    """Backend and case of every call: of the kernels and of what `auto` takes, or those named.

    RuntimeError for a named backend that runs none of the device's dtypes.
    """
    found = []
    for dtype in DEVICE_DTYPES[device]:
        problem = backends.Problem(device, DTYPES[dtype], 0)
        default = backends.select(problem).name
        for name in wanted or dict.fromkeys([*kernel_backends(device, dtype), default]):
            if backends.get(name).why_not(problem) is None:
                found += [(name, replace(case, dtype=dtype)) for case in CASES]
    for name in wanted:
        if name not in {backend for backend, _ in found}:
            backends.select(backends.Problem(device, torch.float32, 0), name)
    return found


def report(call: Call, check: Callable[[Call], str]) -> None:
    """Prints what came of a check; of a kernel a failure is raised."""
    print(f"{call}: ", end="", flush=True)
    try:
        print(check(call), flush=True)
    except (Difference, RuntimeError) as failure:
        if not backends.get(call.backend).differentiable:
            raise
        print(f"PyTorch's own, reported only: {failure}", flush=True)


def check_all(device: str, wanted: Sequence[str], repeats: int) -> None:
    """Every check of every target. Difference at the first that a kernel fails."""
    found = targets(device, wanted)
    for backend, case in found:
        report(Call(case, backend, device), lambda call: check_repeats(call, repeats))
    if device != "cuda":
        print("graph: needs CUDA, skipped")
        return
    # those that may not capture come last: a capture that failed may leave something behind
    for ragged in (False, True):
        for training in (False, True):
            for backend, case in found:
                if case.ragged == ragged:
                    call = Call(case, backend, device)
                    report(call, lambda call, training=training: check_graph(call, training))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=tuple(DEVICE_DTYPES), default="cuda")
    parser.add_argument("--backend", action="append", default=[], help="only this; repeatable")
    parser.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args(argv)
    try:
        if args.device == "cuda" and not torch.cuda.is_available():
            raise RuntimeError("--device cuda: no CUDA device here")
        check_all(args.device, args.backend, args.repeats)
    except Difference as difference:
        print(f"\nraces: {difference}")
        return 1
    except (ValueError, RuntimeError) as error:
        print(f"\nraces: error: {error}")
        return 2
    print("races: none")
    return 0


if __name__ == "__main__":
    sys.exit(main())
