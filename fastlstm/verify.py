"""Outputs, final states and every gradient of each backend against nn.LSTM and a float64 oracle.

Tolerances are earned: a result may be at most twice as far from nn.LSTM in float64 on the very same
numbers as nn.LSTM in float32 is. Error: largest difference over the oracle's largest value.

Below `FLOOR_ULPS` units in the last place, a millionth, the ratio says nothing: small cases are
exact by luck. Sigmoid, tanh and the products of a step round by about four, and the order of a
sum over rows (one GEMM, or one a step as nn.LSTM's for packed sequences) moves as many again.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from fastlstm import backends
from fastlstm.backends import cpu
from fastlstm.lstm import LSTM

SLACK = 2.0
FLOOR_ULPS = 4.0
ROW = "{:<11}  {:<37}  {:<25}  {:>7}  {:>7}  {:>5}  {}"


@dataclass(frozen=True)
class Case:
    """One LSTM and the shape of its input; `ragged` packs sequences of different lengths."""

    T: int
    B: int
    I: int
    H: int
    layers: int = 1
    bidirectional: bool = False
    bias: bool = True
    hx: bool = True
    ragged: bool = False

    def __str__(self) -> str:
        text = f"T{self.T} B{self.B} I{self.I} H{self.H} L{self.layers}"
        text += " bi" * self.bidirectional + " no-bias" * (not self.bias)
        return text + " no-hx" * (not self.hx) + " ragged" * self.ragged

    def lengths(self) -> list[int]:
        """The length of each sequence: unsorted, at least one of them the full T."""
        return [self.T - 5 * b % self.T if self.ragged else self.T for b in range(self.B)]


# fmt: off
QUICK = (
    Case(1, 1, 1, 1), Case(7, 3, 5, 33, bidirectional=True), Case(3, 20, 200, 200),
    Case(9, 8, 13, 31, layers=2, ragged=True), Case(5, 2, 16, 16, bias=False, hx=False),
)
GRID = (
    *QUICK, Case(2, 1, 1, 2), Case(11, 1, 7, 47), Case(5, 17, 31, 97), Case(3, 257, 8, 40),
    Case(100, 3, 10, 24), Case(35, 20, 65, 128, layers=2), Case(1, 7, 3, 17, bias=False),
    Case(4, 5, 130, 15, hx=False), Case(1, 1, 1, 1, bidirectional=True, hx=False),
    Case(2, 600, 19, 23, bidirectional=True), Case(13, 2, 3, 61, bidirectional=True, bias=False),
    Case(6, 1, 24, 48, layers=2, bidirectional=True), Case(9, 1, 5, 29, ragged=True),
    Case(8, 19, 11, 37, bidirectional=True, ragged=True),
    Case(23, 40, 16, 64, layers=2, bidirectional=True, ragged=True, hx=False),
    *(Case(6, B, H, H, bidirectional=H == 256) for H in (256, 512) for B in (1, 20)),
)
# fmt: on


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
    difference, scale = (got.double() - oracle).abs(), oracle.abs()
    return (difference.max() / scale.max()).item() if scale.any() else difference.sum().item()


def judge(got: Tensor, oracle: Tensor, peer: Tensor, slack: float = SLACK) -> tuple[float, ...]:
    """Error of `got`, error of nn.LSTM's own result `peer`, and the largest error that passes."""
    peer_error = relative_error(peer, oracle)
    limit = max(slack * peer_error, FLOOR_ULPS * torch.finfo(peer.dtype).eps)
    return relative_error(got, oracle), peer_error, limit


def make_inputs(case: Case) -> dict[str, Tensor]:
    """Input, states and the gradients that come in from above, the same on every call."""
    D = 2 if case.bidirectional else 1
    rows = (sum(case.lengths()),) if case.ragged else (case.T, case.B)
    state = (case.layers * D, case.B, case.H)
    shapes = {"input": (case.T, case.B, case.I), "d_output": (*rows, D * case.H)}
    shapes |= dict.fromkeys(("h_0", "c_0", "d_h_n", "d_c_n"), state)
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def make_peer(case: Case) -> nn.LSTM:
    """The nn.LSTM of a case, with the same weights on every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.LSTM(case.I, case.H, case.layers, case.bias, bidirectional=case.bidirectional)


def make_ours(peer: nn.LSTM, backend: str = "auto") -> LSTM:
    """A fastlstm.LSTM with the configuration and the weights of an nn.LSTM."""
    names = "input_size hidden_size num_layers bias batch_first dropout bidirectional proj_size"
    kwargs = {name: getattr(peer, name) for name in names.split()}
    with torch.random.fork_rng(devices=[]):
        ours = LSTM(**kwargs, backend=backend).to(next(peer.parameters()).dtype)
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


def variants(wanted: Sequence[str] = ()) -> Iterator[tuple[str, str, str]]:
    """The name to print, the backend and, for `cpu`, each ISA variant that this machine can run."""
    for backend in wanted or backends.names():
        for isa in cpu.isas() if backend == "cpu" else [""]:
            yield f"cpu/{isa}" if isa else backend, backend, isa


def verify(wanted: Sequence[str] = (), cases: Sequence[Case] = GRID) -> list[Result]:
    """Check the backends named, or all; per variant and case the quantity nearest its limit."""
    results = []
    for case in cases:
        inputs, peer = make_inputs(case), make_peer(case)
        oracle = quantities(copy.deepcopy(peer).double(), case, inputs)
        peers = quantities(peer, case, inputs)
        for name, backend, isa in variants(wanted):
            with cpu.use_isa(isa) if isa else nullcontext():
                got = quantities(make_ours(peer, backend), case, inputs)
            found = [Result(name, case, k, *judge(got[k], oracle[k], peers[k])) for k in got]
            results.append(max(found, key=lambda r: (not r.ok, r.error / r.limit)))
    return results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fastlstm verify`."""
    parser.add_argument("--backend", action="append", default=[], help="only this one; repeatable")
    parser.add_argument("--quick", action="store_true", help="a few small shapes")


def run(args: argparse.Namespace) -> int:
    """Print the table of `fastlstm verify`; 1 if any result is a miss."""
    print(ROW.format("backend", "case", "worst quantity", "error", "nn.LSTM", "ratio", "").rstrip())
    verdicts = []
    for case in QUICK if args.quick else GRID:
        print(*(results := verify(args.backend, [case])), sep="\n", flush=True)
        verdicts += [result.ok for result in results]
    missed = verdicts.count(False)
    limits = f"{SLACK:g}x nn.LSTM's error or {FLOOR_ULPS:g} ulp"
    print(f"{len(verdicts)} checked, {missed} missed; allowed: {limits}")
    return 1 if missed else 0
