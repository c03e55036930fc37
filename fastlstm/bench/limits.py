"""What this machine can do at best, measured: GEMM, bandwidth, and the cost of an empty call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from fastlstm.bench.case import TRAINING, Case
from fastlstm.bench.row import Row
from fastlstm.bench.timing import seconds
from fastlstm.verify_cases import DTYPES

GEMM_SIZE = {"cpu": 2048, "cuda": 8192}
# [rows, columns] in float32: 1 MiB is a core's own cache, the last is memory
GEMV_SIZES = {
    "cpu": ((512, 512), (2048, 1024), (4096, 4096), (8192, 8192)),
    "cuda": ((2048, 1024), (8192, 8192), (32768, 8192)),
}
BEST_OF = 12


@dataclass(frozen=True)
class Limits:
    """gemm: FLOP/s by dtype. gemv: bytes and bytes/s by shape `[rows, columns]`. call: seconds."""

    gemm: dict[str, float]
    gemv: dict[tuple[int, int], float]
    call: float

    def share(self, case: Case, which: str, time: float) -> float:
        """FLOP/s of a pass that takes `time` seconds, over those of the GEMM of its dtype."""
        return case.flops(which) / time / self.gemm[case.dtype]

    def floor(self, case: Case, which: str) -> float:
        """Seconds that a pass takes at least: see `Row.floor`.

        Weights of a MiB or more are read at each step from where weights of that size lie; training
        reads them once in each direction. Smaller ones may stay in registers.
        """
        rate = max(self.gemm[case.dtype], self.gemm["float32"])
        reads = max(case.lengths()) * (2 if which == TRAINING else 1)
        size = case.weight_bytes()
        layer = size / case.layers / case.directions
        speeds = [speed for shape, speed in self.gemv.items() if 4 * shape[0] * shape[1] <= layer]
        reading = reads * size / min(speeds) if speeds else 0.0
        return self.call + max(case.flops(which) / rate, reading)


def measure_limits(device: str, dtypes: list[str]) -> Limits:
    """Measure them all: a few seconds."""
    names = dict.fromkeys(["float32", *dtypes])
    return Limits(
        {name: gemm_rate(device, name) for name in names},
        {shape: bandwidth(device, shape) for shape in GEMV_SIZES[device]},
        call_seconds(device),
    )


def limit_rows(limits: Limits, device: str, where: dict[str, Any]) -> list[Row]:
    """The measured rates as rows: I the columns and H the rows of the matrix."""
    n = GEMM_SIZE[device]
    found = [("gemm", (n, n), n, dtype, "GFLOP/s", rate) for dtype, rate in limits.gemm.items()]
    found += [("gemv", shape, 1, "float32", "GB/s", rate) for shape, rate in limits.gemv.items()]
    rows = []
    for measure, (H, I), B, dtype, unit, rate in found:
        shape = {"I": I, "H": H, "layers": 1, "B": B, "T": 1, "dtype": dtype, "rounds": BEST_OF}
        value = dict.fromkeys(("p20", "p50", "p80"), rate / 1e9)
        fields: dict[str, Any] = {"metric": "rate", "unit": unit} | shape | value | where
        rows.append(Row(provider="machine", measure=measure, **fields))
    return rows


def gemm_rate(device: str, dtype: str) -> float:
    """FLOP/s of a large square GEMM, the best of several."""
    n = GEMM_SIZE[device]
    a, b = (torch.randn(n, n, device=device).to(DTYPES[dtype]) for _ in range(2))
    out = a @ b
    best = min(seconds(lambda: torch.mm(a, b, out=out), 1, device) for _ in range(BEST_OF))
    return 2 * n**3 / best


def bandwidth(device: str, shape: tuple[int, int]) -> float:
    """Bytes/s of the matrix in a product of matrix and vector, the best of several."""
    matrix, vector = torch.randn(shape, device=device), torch.randn(shape[1], device=device)
    size = 4 * matrix.numel()
    repeats = max(1, 2**24 // size)
    out = matrix @ vector

    def once() -> float:
        return seconds(lambda: torch.mv(matrix, vector, out=out), repeats, device)

    return size / min(once() for _ in range(BEST_OF))


def call_seconds(device: str) -> float:
    """Seconds of an operator of torch on a single element."""
    x = torch.ones(1, device=device)
    return min(seconds(x.neg_, 1000, device) for _ in range(BEST_OF))
