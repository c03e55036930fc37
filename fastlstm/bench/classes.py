"""Classes of shapes that ask the same of an LSTM, and the geometric means over each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import geometric_mean

from fastlstm.bench.case import DECODE, INFERENCE, TRAINING
from fastlstm.bench.row import BASELINE, Row


@dataclass(frozen=True)
class ShapeClass:
    """A class of shapes.

    holds: whether the shape of a row, of this dtype, is one of them.
    measures: the passes that are averaged.
    share: whether products are most of the work, so that their share of the GEMM's rate counts.
    variant: another provider, whose mean stands beside ours.
    single: whether nn.LSTM's time in float32 over ours stands beside.
    """

    name: str
    holds: Callable[[Row], bool]
    dtype: str = "float32"
    measures: Sequence[str] = (INFERENCE, TRAINING)
    share: bool = False
    variant: str = ""
    single: bool = False


@dataclass(frozen=True)
class Means:
    """Geometric means over a class.

    shapes: how many were measured. ratios: to nn.LSTM in the same dtype, by pass. shares: of the
    GEMM's rate, by pass. beside: other ratios to nn.LSTM, by what they are.
    """

    name: str
    shapes: int
    ratios: dict[str, float]
    shares: dict[str, float]
    beside: dict[str, float]


def _plain(row: Row) -> bool:
    return row.directions == 1 and row.lengths == "padded"


def _gemm_bound(row: Row) -> bool:
    return _plain(row) and 128 <= row.H <= 1024 and row.B >= 16


CLASSES = (
    ShapeClass("B = 1, H <= 256", lambda row: _plain(row) and row.B == 1 and row.H <= 256),
    ShapeClass(
        "B = 1, H >= 512",
        lambda row: _plain(row) and row.B == 1 and row.H >= 512,
        variant="fastlstm bf16 weights",
    ),
    ShapeClass(
        "H <= 64, B >= 32",
        lambda row: _plain(row) and row.H <= 64 and row.B >= 32,
        share=True,
    ),
    ShapeClass("H 128 to 1024, B >= 16", _gemm_bound, share=True),
    ShapeClass(
        "H 128 to 1024, B >= 16, bfloat16", _gemm_bound, "bfloat16", share=True, single=True
    ),
    ShapeClass(
        "bidirectional", lambda row: row.directions == 2 and row.lengths == "padded", share=True
    ),
    ShapeClass("ragged", lambda row: row.lengths == "ragged", share=True),
    ShapeClass(
        "one step, B = 1",
        lambda row: _plain(row) and row.B == row.T == 1,
        measures=(DECODE,),
        variant="fastlstm stream",
    ),
    ShapeClass("whole grid, padded, one direction", _plain),
)


def class_means(rows: Sequence[Row]) -> list[Means]:
    """The means of the default backend over each class that a run has rows of."""
    times = [row for row in rows if row.metric == "time"]
    found = (_means(shapes, times) for shapes in CLASSES)
    return [means for means in found if means.ratios]


def _means(shapes: ShapeClass, times: Sequence[Row]) -> Means:
    held = [r for r in times if r.dtype == shapes.dtype and shapes.holds(r)]
    held = [r for r in held if r.measure in shapes.measures and r.ratio]
    ours = [row for row in held if row.auto]
    ratios, shares, beside = {}, {}, {}
    for measure in dict.fromkeys(row.measure for row in ours):
        own = [row for row in ours if row.measure == measure]
        ratios[measure] = geometric_mean(row.ratio for row in own if row.ratio)
        known = [row.gemm_share for row in own if row.gemm_share]
        if shapes.share and known:
            shares[measure] = geometric_mean(known)
    variant = [row.ratio for row in held if row.provider == shapes.variant and row.ratio]
    if variant:
        beside[shapes.variant.removeprefix("fastlstm ")] = geometric_mean(variant)
    single = list(_over_single(ours, times)) if shapes.single else []
    if single:
        beside[f"{TRAINING} over {BASELINE} in float32"] = geometric_mean(single)
    return Means(shapes.name, len({row.case for row in ours}), ratios, shares, beside)


def _over_single(ours: Iterable[Row], times: Iterable[Row]) -> Iterable[float]:
    """nn.LSTM's time in float32 over ours, of each shape in training."""
    peers = {r.case: r for r in times if r.provider == BASELINE and r.measure == TRAINING}
    for row in ours:
        peer = peers.get(replace(row.case, dtype="float32"))
        if row.measure == TRAINING and peer is not None:
            yield peer.p50 / row.p50


def slower(rows: Iterable[Row]) -> list[Row]:
    """Where the default backend's ratio is below 1, the lowest first."""
    measures = (INFERENCE, TRAINING, DECODE)
    times = [row for row in rows if row.metric == "time" and row.measure in measures]
    return sorted(
        (row for row in times if row.auto and row.ratio and row.ratio < 1),
        key=lambda row: row.ratio or 0.0,
    )
