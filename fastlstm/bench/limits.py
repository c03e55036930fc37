"""What this machine can do at best, measured: GEMM, bandwidth, and the cost of an empty call."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fastlstm.backends.triton.precision import uses_tf32
from fastlstm.bench.case import TRAINING, Case
from fastlstm.bench.row import Row
from fastlstm.bench.timing import Call, seconds
from fastlstm.verify_cases import DTYPES

GEMM_SIZES = {"cpu": (256, 512, 1024, 2048), "cuda": (8192,)}
GEMM_SECONDS = 0.5  # that one product may take; some dtypes have no fast kernel
# [rows, columns] in float32: 1 MiB is a core's own cache, the last is memory
GEMV_SIZES = {
    "cpu": ((512, 512), (2048, 1024), (4096, 4096), (8192, 8192)),
    "cuda": ((2048, 1024), (8192, 8192), (32768, 8192)),
}
BEST_OF = 12
# So much of a layer's recurrent weights may stay near the arithmetic: in the cache that a core has
# for itself, or in the registers and shared memory of a large GPU.
KEPT_BY_A_CORE, KEPT_BY_A_GPU = 1 << 20, 64 << 20

Multiply = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Limits:
    """gemm: FLOP/s by dtype, of square matrices of `gemm_size`. call: seconds.

    gemv: bytes/s of the matrix by its shape `[rows, columns]`. kept: bytes of a layer's recurrent
    weights that may stay near the arithmetic from step to step.
    """

    gemm: dict[str, float]
    gemv: dict[tuple[int, int], float]
    call: float
    gemm_size: dict[str, int]
    kept: int

    def share(self, case: Case, which: str, time: float) -> float:
        """FLOP/s of a pass that takes `time` seconds, over those of the GEMM of its dtype."""
        return case.flops(which) / time / self.gemm[case.dtype]

    def floor(self, case: Case, which: str) -> float:
        """Seconds that a pass takes at least: see `Row.floor`.

        What is not kept of the recurrent weights is read at each step, in training once in each
        direction, from where a matrix of their size lies; the weights of the input once.
        """
        rate = max(self.gemm.get(case.dtype, 0.0), self.gemm["float32"])
        recurrent = case.recurrent_bytes()
        speeds = [speed for shape, speed in self.gemv.items() if 4 * math.prod(shape) <= recurrent]
        reading = 0.0
        if recurrent > self.kept and speeds:
            reads = max(case.lengths()) * (2 if which == TRAINING else 1)
            weights = case.layers * case.directions * (recurrent - self.kept)
            reading = reads * weights / min(speeds)
        return self.call + max(case.flops(which) / rate, reading)


def measure_limits(device: str, dtypes: list[str]) -> Limits:
    """Measure them all: a few seconds."""
    gemms = {name: gemm_rate(device, name) for name in dict.fromkeys(["float32", *dtypes])}
    return Limits(
        {name: rate for name, (rate, _) in gemms.items()},
        {shape: bandwidth(device, shape) for shape in GEMV_SIZES[device]},
        call_seconds(device),
        {name: n for name, (_, n) in gemms.items()},
        KEPT_BY_A_GPU if device == "cuda" else KEPT_BY_A_CORE * torch.get_num_threads(),
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
    """FLOP/s of the fastest square GEMM, the best of several, and its size.

    In float32 with TF32 where nn.LSTM has it. On a CPU by torch.mm or oneDNN's linear: torch.mm is
    MKL, which in float32 reaches half of what the cores of AMD can do.
    """
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed or uses_tf32(device, DTYPES[dtype])
    ways: list[Multiply | None] = [torch.mm, onednn_linear(device, dtype)]
    best = 0.0, 0
    try:
        for multiply in filter(None, ways):
            rate = math.inf
            for n in GEMM_SIZES[device]:
                if 2 * n**3 > rate * GEMM_SECONDS:
                    break
                a, b = (torch.randn(n, n, device=device).to(DTYPES[dtype]) for _ in range(2))
                rate = 2 * n**3 / _shortest(partial(multiply, a, b), 1, device)
                best = max(best, (rate, n))
    finally:
        torch.backends.cuda.matmul.allow_tf32 = allowed
    return best


def onednn_linear(device: str, dtype: str) -> Multiply | None:
    """oneDNN's a @ b.T on a CPU; None where torch has none for the dtype."""
    linear: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    here: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if device != "cpu" or not here or linear is None:
        return None

    def multiply(a: Tensor, b: Tensor) -> Tensor:
        product: Tensor = linear(a, b, None, "none", [], "")
        return product

    try:
        multiply(*torch.ones(2, 16, 16, dtype=DTYPES[dtype]))
    except RuntimeError:
        return None
    return multiply


def bandwidth(device: str, shape: tuple[int, int]) -> float:
    """Bytes/s at which a matrix is read, the best of several.

    By a product with a vector (torch's, and oneDNN's on a CPU), or by the sum of its elements.
    """
    matrix, vector = torch.randn(shape, device=device), torch.randn(shape[1], device=device)
    size = 4 * matrix.numel()
    calls: list[Call] = [partial(torch.mv, matrix, vector), matrix.sum]
    linear = onednn_linear(device, "float32")
    if linear:
        calls.append(partial(linear, vector[None], matrix))
    return size / min(_shortest(call, max(1, 2**24 // size), device) for call in calls)


def _shortest(call: Call, repeats: int, device: str) -> float:
    return min(seconds(call, repeats, device) for _ in range(BEST_OF))


def call_seconds(device: str) -> float:
    """Seconds of an operator of torch on a single element."""
    x = torch.ones(1, device=device)
    return _shortest(x.neg_, 1000, device)
