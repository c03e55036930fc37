"""Roofline and memory: drawn from made-up rows, and read back from the figures."""

import math

import pytest
from made_up_rows import (
    BANDWIDTH,
    machine_rows,
    make_row,
    memory_rows,
    panels,
    points,
    texts_at,
    written,
)

from fastlstm.bench.case import INFERENCE, TRAINING, Case
from fastlstm.bench.row import BASELINE

plots = pytest.importorskip("fastlstm.bench.plots")


def test_roofline_points():
    case = Case(128, 128, 2, 16, 32)
    rows = [
        make_row(case, BASELINE, INFERENCE, p50=2.0),
        make_row(case, "fastlstm cpu", INFERENCE, p50=0.5),
        make_row(case, "fastlstm aten", INFERENCE, p50=0.1),
        make_row(case, "fastlstm cpu", TRAINING, p50=3.0),
        *machine_rows(["float32", "bfloat16"]),
    ]
    axes = panels(plots.roofline_figure(rows))
    flop = 2 * 4 * 128 * (128 + 128) * 2 * 16 * 32
    intensity = 2 * 16 / 4  # two operations for each weight and sequence, four bytes a weight
    inference, training = axes["inference, float32"], axes["forward+backward, float32"]
    assert points(inference, "o") == [pytest.approx((intensity, flop / 0.5e-3 / 1e9))]
    assert points(inference, "s") == [pytest.approx((intensity, flop / 2e-3 / 1e9))]
    assert points(training, "o") == [pytest.approx((intensity, 3 * flop / 3e-3 / 1e9))]
    assert points(training, "s") == []


def test_shapes_of_one_intensity_stand_side_by_side():
    rows = [
        make_row(Case(H, H, 1, 8, 32), "fastlstm cpu", INFERENCE, p50=H**2) for H in (64, 32, 128)
    ]
    found = points(plots.roofline_figure(rows).axes[0], "o")
    assert math.prod(x for x, _ in found) == pytest.approx(4.0**3)
    assert all(3 < x < 5 for x, _ in found)
    assert len({x for x, _ in found}) == 3


def test_roofline_limits():
    case = Case(128, 128, 1, 64, 32)
    rows = [make_row(case, "fastlstm cpu", measure) for measure in (INFERENCE, TRAINING)]
    rows += machine_rows(["float32", "bfloat16"])
    for axes, worth in zip(plots.roofline_figure(rows).axes, (1.0, 1.5), strict=True):
        labels = {text.get_text() for text in axes.texts}
        assert labels == {"GEMM: 900 GFLOP/s", "1 MiB: 95.0 GB/s", "8 MiB: 60.0 GB/s",
                          "256 MiB: 18.0 GB/s"}  # fmt: skip
        lines = [line.get_data() for line in axes.lines if line.get_color() == "#767676"]
        flat = [y[0] for _, y in lines if y[0] == y[1]]
        slopes = [(y[0] / x[0], y[1] / x[1]) for x, y in lines if y[0] != y[1]]
        assert flat == [900.0]
        rates = sorted(BANDWIDTH.values())
        assert sorted(slopes) == [pytest.approx((worth * rate, worth * rate)) for rate in rates]
        # none goes on above what the GEMM reaches
        assert max(y[1] for _, y in lines) == pytest.approx(900.0)


def test_memory_bars():
    case, other = Case(128, 128, 2, 16, 32), Case(64, 64, 1, 16, 32)
    sizes = {
        (case, "peak memory", BASELINE): 40, (case, "peak memory", "fastlstm cpu"): 30,
        (case, "peak memory", "fastlstm aten"): 99, (other, "peak memory", "fastlstm cpu"): 5,
        (case, "saved for backward", BASELINE): 20, (other, "peak memory", BASELINE): 6.5,
        (case, "saved for backward", "fastlstm cpu"): 10,
    }  # fmt: skip
    rows = [
        make_row(case, provider, TRAINING, metric, "bytes", size * 2.0**20)
        for (case, metric, provider), size in sizes.items()
    ]
    figure = plots.memory_figure(rows)
    peak, saved = (
        panels(figure)[f"{name}, float32"] for name in ("peak memory", "saved for backward")
    )
    assert [label.get_text() for label in peak.get_yticklabels()] == [
        "H128 L2 B16 T32",
        "H64 B16 T32",
    ]
    bars = {(bar.get_width(), bool(bar.get_hatch())) for bar in peak.patches}
    assert bars == {(40, True), (30, False), (6.5, True), (5, False)}
    assert {(bar.get_width(), bool(bar.get_hatch())) for bar in saved.patches} == {
        (20, True),
        (10, False),
    }
    assert peak.get_xlim()[1] > 1.1 * 40
    # the number stands at the end of its bar, and each shape's bars are at its name
    numbers = {(x, round(y)): text.strip() for (x, y), text in texts_at(peak).items()}
    assert numbers == {(40, 0): "40.0", (30, 0): "30.0", (6.5, 1): "6.50", (5, 1): "5.00"}


def test_memory_shows_the_largest_shapes():
    cases = [Case(8 * n, 8 * n, 1, 8, 32) for n in range(1, 41)]
    figure = plots.memory_figure([row for case in cases for row in memory_rows(case)])
    assert "the 30 largest shapes" in written(figure)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [f"H{8 * n} B8 T32" for n in range(40, 10, -1)]
