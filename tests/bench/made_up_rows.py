"""Rows that no machine measured, and what a picture of them shows."""

import random

from fastlstm.bench.case import PASSES, TRAINING, Case
from fastlstm.bench.row import BASELINE, Row

# The conditions of a run, as `Bench` carries them.
WHERE = {
    "device": "a machine", "cpu": "it", "load": 0.0, "tf32": False,
    "threads": 2, "cpu_isa": "avx2", "clock_mhz": None, "torch": "2",
    "triton": "", "cudnn": "", "onednn": "3", "fastlstm": "0", "commit": "abc",
    "date": "2026-01-02", "run": "2026-01-02T03:04:05+00:00",
}  # fmt: skip

SPEED = {BASELINE: 1.0, "fastlstm cpu": 1.7, "fastlstm aten": 0.95, "LSTMCell loop": 0.4}
PEAK = {"float32": 900.0, "bfloat16": 2400.0}  # GFLOP/s
BANDWIDTH = {(512, 512): 95.0, (2048, 1024): 60.0, (8192, 8192): 18.0}  # GB/s by [rows, columns]


def make_row(case, provider, measure, metric="time", unit="ms", p50=1.0, ratio=None, **others):
    values = {
        "provider": provider, "auto": provider == "fastlstm cpu", "measure": measure,
        "I": case.I, "H": case.H, "layers": case.layers, "B": case.B, "T": case.T,
        "directions": case.directions, "lengths": "ragged" if case.ragged else "padded",
        "dtype": case.dtype, "metric": metric, "unit": unit,
        "p20": 0.97 * p50, "p50": p50, "p80": 1.08 * p50, "rounds": 20,
        "ratio": ratio, "ratio_p20": ratio, "ratio_p80": ratio, "gemm_share": None, "floor": None,
        "device": "AMD EPYC 9R14 96-Core Processor", "threads": 8,
        "cpu": "AMD EPYC 9R14 96-Core Processor", "load": 0.1, "tf32": False, "cpu_isa": "avx512",
        "clock_mhz": 3700.0, "torch": "2.14.0+cpu", "triton": "", "cudnn": "", "onednn": "3.11.2",
        "fastlstm": "0.1.0", "commit": "0123456789", "date": "2026-07-31",
        "run": "2026-07-31T12:00:00+00:00",
    }  # fmt: skip
    return Row(**{**values, **others})


def time_rows(case, seed=0):
    """What a run measures of a shape, near what a machine with these limits would do."""
    draw = random.Random(f"{case} {seed}")
    for measure in PASSES:
        reading = 1e-6 * case.T * case.weight_bytes() / 60
        ideal = max(1e-6 * case.flops(measure) / PEAK[case.dtype], reading)
        baseline = 0.02 + 0.004 * case.T + 2.5 * ideal
        for provider, speed in SPEED.items():
            ratio = speed * draw.uniform(0.55, 1.6) if provider != BASELINE else 1.0
            yield make_row(
                case, provider, measure, p50=baseline / ratio, ratio=ratio, floor=0.001 + ideal
            )


def memory_rows(case):
    saved = 4.0 * case.T * case.B * case.H * case.layers * case.directions
    for provider, factor in SPEED.items():
        for metric, gates in (("saved for backward", 6), ("peak memory", 14)):
            p50 = saved * gates / factor + case.weight_bytes()
            yield make_row(case, provider, TRAINING, metric, "bytes", p50)


def machine_rows(dtypes):
    for dtype in dtypes:
        case = Case(2048, 2048, 1, 2048, 1, dtype=dtype)
        yield make_row(case, "machine", "gemm", "rate", "GFLOP/s", PEAK[dtype])
    for (rows, columns), rate in BANDWIDTH.items():
        yield make_row(Case(columns, rows, 1, 1, 1), "machine", "gemv", "rate", "GB/s", rate)


def make_rows(cases):
    measured = [row for case in cases for row in (*time_rows(case), *memory_rows(case))]
    return [*measured, *machine_rows(dict.fromkeys(case.dtype for case in cases))]


def panels(figure):
    return {axes.get_title(): axes for axes in figure.axes}


def texts_at(axes):
    return {tuple(text.get_position()): text.get_text() for text in axes.texts}


def written(figure):
    text = "\n".join(text.get_text() for text in figure.texts)
    return text.replace("\N{NO-BREAK SPACE}", " ")


def points(axes, marker):
    """(x, y) of the single points with this marker."""
    lines = [line for line in axes.lines if line.get_marker() == marker]
    return sorted((float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in lines)
