"""What this machine can do at best, measured: GEMM, bandwidth, and the cost of an empty call."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from fastlstm.bench.case import TRAINING, Case
from fastlstm.bench.row import Row
from fastlstm.bench.timing import seconds
from fastlstm.verify import uses_tf32
from fastlstm.verify_cases import DTYPES

GEMM_SIZES = {"cpu": (2048, 1024, 512, 256), "cuda": (8192,)}
GEMM_SECONDS = 1.0  # that one product may take; some dtypes have no fast kernel
# [rows, columns] in float32: 1 MiB is a core's own cache, the last is memory
GEMV_SIZES = {
    "cpu": ((512, 512), (2048, 1024), (4096, 4096), (8192, 8192)),
    "cuda": ((2048, 1024), (8192, 8192), (32768, 8192)),
}
BEST_OF = 12
# Recurrent weights of a layer that are smaller may stay on the chip, near the arithmetic: in the
# cores' own caches, or in the registers and shared memory of a large GPU.
STREAMED = {"cpu": 1 << 20, "cuda": 64 << 20}


@dataclass(frozen=True)
class Limits:
    """gemm: FLOP/s by dtype, of square matrices of `gemm_size`. call: seconds.

    gemv: bytes/s of the matrix by its shape `[rows, columns]`. streamed: see STREAMED.
    """

    gemm: dict[str, float]
    gemv: dict[tuple[int, int], float]
    call: float
    gemm_size: dict[str, int]
    streamed: int

    def share(self, case: Case, which: str, time: float) -> float:
        """FLOP/s of a pass that takes `time` seconds, over those of the GEMM of its dtype."""
        return case.flops(which) / time / self.gemm[case.dtype]

    def floor(self, case: Case, which: str) -> float:
        """Seconds that a pass takes at least: see `Row.floor`.

        Large recurrent weights are read at each step, in training once in each direction, from
        where a matrix of their size lies; those of the input once.
        """
        rate = max(self.gemm[case.dtype], self.gemm["float32"])
        recurrent = case.recurrent_bytes()
        speeds = [speed for shape, speed in self.gemv.items() if 4 * math.prod(shape) <= recurrent]
        reading = 0.0
        if recurrent >= self.streamed and speeds:
            reads = max(case.lengths()) * (2 if which == TRAINING else 1)
            reading = reads * case.layers * case.directions * recurrent / min(speeds)
        return self.call + max(case.flops(which) / rate, reading)


def measure_limits(device: str, dtypes: list[str]) -> Limits:
    """Measure them all: a few seconds."""
    gemms = {name: gemm_rate(device, name) for name in dict.fromkeys(["float32", *dtypes])}
    return Limits(
        {name: rate for name, (rate, _) in gemms.items()},
        {shape: bandwidth(device, shape) for shape in GEMV_SIZES[device]},
        call_seconds(device),
        {name: n for name, (_, n) in gemms.items()},
        STREAMED[device],
    )


def limit_rows(limits: Limits, where: dict[str, Any]) -> list[Row]:
    """The measured rates as rows: I the columns and H the rows of the matrix."""
    found = []
    for dtype, rate in limits.gemm.items():
        n = limits.gemm_size[dtype]
        found.append(("gemm", (n, n), n, dtype, "GFLOP/s", rate))
    found += [("gemv", shape, 1, "float32", "GB/s", rate) for shape, rate in limits.gemv.items()]
    rows = []
    for measure, (H, I), B, dtype, unit, rate in found:
        shape = {"I": I, "H": H, "layers": 1, "B": B, "T": 1, "dtype": dtype, "rounds": BEST_OF}
        value = dict.fromkeys(("p20", "p50", "p80"), rate / 1e9)
        fields: dict[str, Any] = {"metric": "rate", "unit": unit} | shape | value | where
        rows.append(Row(provider="machine", measure=measure, **fields))
    return rows


def gemm_rate(device: str, dtype: str) -> tuple[float, int]:
    """FLOP/s of a large square GEMM, the best of several, and its size.

    In float32 with TF32 where nn.LSTM has it.
    """
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed or uses_tf32(device, DTYPES[dtype])
    try:
        for n in GEMM_SIZES[device]:
            a, b = (torch.randn(n, n, device=device).to(DTYPES[dtype]) for _ in range(2))
            small, out = a[:128, :128].contiguous(), torch.empty_like(a)
            once = min(seconds(lambda x=small: x @ x, 1, device) for _ in range(3))  # type: ignore[misc]
            if once * (n / 128) ** 3 < GEMM_SECONDS or n == GEMM_SIZES[device][-1]:
                break
        best = min(seconds(lambda: torch.mm(a, b, out=out), 1, device) for _ in range(BEST_OF))
    finally:
        torch.backends.cuda.matmul.allow_tf32 = allowed
    return 2 * n**3 / best, n


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
