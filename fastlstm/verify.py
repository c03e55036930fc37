"""Outputs, final states and every gradient of each backend against nn.LSTM and a float64 oracle.

Tolerances are earned: a result may be at most twice as far from nn.LSTM in float64 on the very same
numbers as nn.LSTM on its device and in its dtype is. Error: largest difference over the oracle's
largest value.

Below `FLOOR_ULPS` units in the last place, in float32 a millionth, the ratio says nothing: small
cases are exact by luck. Sigmoid, tanh and the products of a step round by about four, and the order
of a sum over rows (one GEMM, or one a step as nn.LSTM's for packed sequences) moves as many again.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from fastlstm import backends
from fastlstm.backends import cpu
from fastlstm.backends.triton.precision import uses_tf32
from fastlstm.lstm import LSTM
from fastlstm.verify_cases import DTYPES, GRID, QUICK, Case, make_inputs, make_peer

SLACK = 2.0
FLOOR_ULPS = 4.0
TF32_EPS = 2.0**-10  # of the 10 bits that cuDNN multiplies float32 with, where torch allows it
ROW = "{:<11}  {:<43}  {:<25}  {:>7}  {:>7}  {:>5}  {}"


@dataclass(frozen=True)
class Result:
    """One quantity of one backend on one case: how wrong it is, and how wrong it may be."""

    backend: str
    case: Case
    quantity: str
    error: float
    peer_error: float  # of nn.LSTM
    limit: float

    @property
    def ok(self) -> bool:
        """Whether the error is within its limit; never so where NaN or Inf stands."""
        return self.error <= self.limit < float("inf")

    def __str__(self) -> str:
        ratio = f"{self.error / self.peer_error:.2f}" if self.peer_error else "-"
        cells = f"{self.error:.1e}", f"{self.peer_error:.1e}", ratio, "ok" if self.ok else "MISS"
        return ROW.format(self.backend, str(self.case), self.quantity, *cells)


def relative_error(got: Tensor, oracle: Tensor) -> float:
    """Largest difference over the oracle's largest value; infinite for a NaN or a wrong shape."""
    if got.shape != oracle.shape or not got.isfinite().all():
        return float("inf")
    difference, scale = (got.to(oracle) - oracle).abs(), oracle.abs()
    return (difference.max() / scale.max()).item() if scale.any() else difference.sum().item()


def allowed(peer_error: float, like: Tensor, slack: float = SLACK) -> float:
    """The largest error that passes in a result like this one, where nn.LSTM's is `peer_error`."""
    tf32 = uses_tf32(like.device.type, like.dtype)
    eps = TF32_EPS if tf32 else torch.finfo(like.dtype).eps
    if like.dtype is torch.float64:  # the oracle is no better, and errs by nn.LSTM's error too
        slack += 1
    return max(slack * peer_error, FLOOR_ULPS * eps)


def judge(got: Tensor, oracle: Tensor, peer: Tensor, slack: float = SLACK) -> tuple[float, ...]:
    """Error of `got`, error of nn.LSTM's own result `peer`, and the largest error that passes."""
    peer_error = relative_error(peer, oracle)
    return relative_error(got, oracle), peer_error, allowed(peer_error, peer, slack)


def make_ours(peer: nn.LSTM, backend: str = "auto") -> LSTM:
    """A fastlstm.LSTM with the configuration, weights, dtype and device of an nn.LSTM."""
    names = "input_size hidden_size num_layers bias batch_first dropout bidirectional proj_size"
    kwargs = {name: getattr(peer, name) for name in names.split()}
    with torch.random.fork_rng(devices=[]):
        ours = LSTM(**kwargs, backend=backend).to(next(peer.parameters()))
    ours.load_state_dict(peer.state_dict())
    return ours


def quantities(module: nn.RNNBase, case: Case, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every result of a module on a case by name: without autograd, with it, and each gradient."""
    like = next(module.parameters())
    values = {name: tensor.detach().to(like) for name, tensor in inputs.items()}
    leaves = {k: values[k].requires_grad_() for k in ("input", "h_0", "c_0")[: 3 if case.hx else 1]}

    def forward() -> dict[str, Tensor]:
        x: Tensor | PackedSequence = leaves["input"]
        if case.ragged:
            x = pack_padded_sequence(leaves["input"], case.lengths(), enforce_sorted=False)
        output, (h_n, c_n) = module(x, (leaves["h_0"], leaves["c_0"]) if case.hx else None)
        return {"output": output.data if case.ragged else output, "h_n": h_n, "c_n": c_n}

    with torch.no_grad():
        results = {f"{name} without grad": tensor for name, tensor in forward().items()}
    outputs = forward()
    leaves |= dict(module.named_parameters())
    arriving = [values[f"d_{name}"] for name in outputs]
    grads = torch.autograd.grad(list(outputs.values()), list(leaves.values()), arriving)
    named = {f"grad {name}": grad for name, grad in zip(leaves, grads, strict=True)}
    return results | {name: tensor.detach() for name, tensor in outputs.items()} | named


def peer_errors(
    peer: nn.LSTM, case: Case, inputs: dict[str, Tensor], oracle: dict[str, Tensor]
) -> dict[str, float]:
    """nn.LSTM's error in each quantity."""
    results = quantities(peer, case, inputs)
    errors = {name: relative_error(tensor, oracle[name]) for name, tensor in results.items()}
    if case.dtype != "float64":
        return errors
    # In float64 nn.LSTM is its own oracle. It errs as in float32, by as many units.
    single = quantities(copy.deepcopy(peer).cpu().float(), case, inputs)
    unit = torch.finfo(torch.float64).eps / torch.finfo(torch.float32).eps
    return {k: max(e, unit * relative_error(single[k], oracle[k])) for k, e in errors.items()}


def variants(
    wanted: Sequence[str] = (),
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    proj_size: int = 0,
) -> Iterator[tuple[str, str, str]]:
    """The name to print, the backend and, for `cpu`, each ISA variant that this machine can run.

    Backends that have no projection are left out where there is one. RuntimeError for a backend
    asked for by name that cannot run that device and dtype at all.
    """
    problem = backends.Problem(device, dtype, proj_size)
    for backend in wanted or backends.names():
        if backend in wanted:
            backends.select(problem._replace(proj_size=0), backend)
        if backends.get(backend).why_not(problem) is not None:
            continue
        for isa in cpu.isas() if backend == "cpu" else [""]:
            yield f"cpu/{isa}" if isa else backend, backend, isa


def verify(
    wanted: Sequence[str] = (), cases: Sequence[Case] = GRID, device: str = "cpu"
) -> list[Result]:
    """Check the backends named, or all; per variant and case the quantity nearest its limit."""
    results = []
    for case in cases:
        dtype, inputs, peer = DTYPES[case.dtype], make_inputs(case), make_peer(case)
        oracle = quantities(copy.deepcopy(peer).double(), case, inputs)
        peer = peer.to(device)
        errors = peer_errors(peer, case, inputs, oracle)
        for name, backend, isa in variants(wanted, device, dtype, case.proj):
            with cpu.use_isa(isa) if isa else nullcontext():
                got = quantities(make_ours(peer, backend), case, inputs)
            found = []
            for k, tensor in got.items():
                error = relative_error(tensor, oracle[k]) if tensor.dtype is dtype else float("inf")
                found.append(Result(name, case, k, error, errors[k], allowed(errors[k], tensor)))
            results.append(max(found, key=lambda r: (not r.ok, r.error / r.limit)))
    return results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fastlstm verify`."""
    parser.add_argument("--backend", action="append", default=[], help="only this one; repeatable")
    parser.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        help="cpu, or cuda for --backend triton if there is one",
    )
    parser.add_argument(
        "--dtype", action="append", default=[], choices=tuple(DTYPES), help="float32; repeatable"
    )
    parser.add_argument("--quick", action="store_true", help="a few small shapes")


def run(args: argparse.Namespace) -> int:
    """Print the table of `fastlstm verify`; 1 if any result is a miss."""
    only_gpu = args.backend == ["triton"] and torch.cuda.is_available()
    device = args.device or ("cuda" if only_gpu else "cpu")
    dtypes = list(dict.fromkeys(args.dtype or ["float32"]))
    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("--device cuda: no CUDA device here")
    for dtype in dtypes:  # one that cannot run is said before any other runs
        list(variants(args.backend, device, DTYPES[dtype]))
    print(ROW.format("backend", "case", "worst quantity", "error", "nn.LSTM", "ratio", "").rstrip())
    verdicts = []
    for dtype in dtypes:
        for case in QUICK if args.quick else GRID:
            results = verify(args.backend, [replace(case, dtype=dtype)], device)
            print("".join(f"{result}\n" for result in results), end="", flush=True)
            verdicts += [result.ok for result in results]
    missed = verdicts.count(False)
    limits = f"{SLACK:g}x nn.LSTM's error or {FLOOR_ULPS:g} ulp"
    if any(uses_tf32(device, DTYPES[dtype]) for dtype in dtypes):
        limits += ", in float32 of TF32"
    place = " on cuda" * (device == "cuda")
    print(f"{len(verdicts)} checked{place}, {missed} missed; allowed: {limits}")
    return 1 if missed else 0
