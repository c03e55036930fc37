"""What `fastlstm verify` runs: LSTMs and inputs on shapes that bite, the same on every call."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fastlstm import original

DTYPES: dict[str, torch.dtype] = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64)
}


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
    dtype: str = "float32"
    proj: int = 0

    def __str__(self) -> str:
        text = f"T{self.T} B{self.B} I{self.I} H{self.H} L{self.layers}"
        text += " bi" * self.bidirectional + " no-bias" * (not self.bias)
        text += " no-hx" * (not self.hx) + " ragged" * self.ragged
        text += f" proj{self.proj}" if self.proj else ""
        return text + f" {self.dtype}" * (self.dtype != "float32")

    def lengths(self) -> list[int]:
        """The length of each sequence: unsorted, at least one of them the full T."""
        return [self.T - 5 * b % self.T if self.ragged else self.T for b in range(self.B)]


# fmt: off
QUICK = (
    Case(1, 1, 1, 1), Case(7, 3, 5, 33, bidirectional=True), Case(3, 20, 200, 200),
    Case(9, 8, 13, 31, layers=2, ragged=True), Case(5, 2, 16, 16, bias=False, hx=False),
    Case(6, 3, 7, 37, bidirectional=True, proj=11),
)
GRID = (
    *QUICK, Case(2, 1, 1, 2), Case(11, 1, 7, 47), Case(5, 17, 31, 97), Case(3, 257, 8, 40),
    Case(100, 3, 10, 24), Case(35, 20, 65, 128, layers=2), Case(1, 7, 3, 17, bias=False),
    Case(4, 5, 130, 15, hx=False), Case(1, 1, 1, 1, bidirectional=True, hx=False),
    Case(2, 600, 19, 23, bidirectional=True), Case(13, 2, 3, 61, bidirectional=True, bias=False),
    Case(6, 1, 24, 48, layers=2, bidirectional=True), Case(9, 1, 5, 29, ragged=True),
    Case(8, 19, 11, 37, bidirectional=True, ragged=True),
    Case(23, 40, 16, 64, layers=2, bidirectional=True, ragged=True, hx=False),
    Case(5, 1, 9, 130, proj=17, bias=False), Case(7, 20, 24, 64, layers=2, ragged=True, proj=48),
    *(Case(6, B, H, H, bidirectional=H == 256) for H in (256, 512) for B in (1, 20)),
)
# fmt: on


def make_inputs(case: Case) -> dict[str, Tensor]:
    """Input, states and the gradients that come in from above, on the CPU, rounded to the dtype."""
    D = 2 if case.bidirectional else 1
    rows = (sum(case.lengths()),) if case.ragged else (case.T, case.B)
    output = case.proj or case.H
    shapes = {"input": (case.T, case.B, case.I), "d_output": (*rows, D * output)}
    shapes |= dict.fromkeys(("h_0", "d_h_n"), (case.layers * D, case.B, output))
    shapes |= dict.fromkeys(("c_0", "d_c_n"), (case.layers * D, case.B, case.H))
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(shape, generator=generator).to(DTYPES[case.dtype])
        for name, shape in shapes.items()
    }


def make_peer(case: Case) -> nn.LSTM:
    """The nn.LSTM of a case, on the CPU, its weights rounded to the dtype."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        lstm = original.LSTM(
            case.I,
            case.H,
            case.layers,
            case.bias,
            bidirectional=case.bidirectional,
            proj_size=case.proj,
        )
    return lstm.to(DTYPES[case.dtype])
