"""Geometric means over classes of shapes, and how they are printed."""

from math import sqrt

import pytest
from made_up_rows import make_row
from rich.console import Console

from fastlstm.bench.case import DECODE, FORWARD, INFERENCE, TRAINING, Case
from fastlstm.bench.classes import class_means, slower
from fastlstm.bench.row import BASELINE
from fastlstm.bench.table import print_tables

WHOLE = "whole grid, padded, one direction"
GEMM_BOUND = "H 128 to 1024, B >= 16"


def ours(case, measure=INFERENCE, ratio=2.0, **others):
    return make_row(case, "fastlstm cpu", measure, ratio=ratio, **others)


def means_of(rows):
    return {means.name: means for means in class_means(rows)}


@pytest.mark.parametrize(
    ("case", "names"),
    [
        (Case(32, 32, 1, 1, 32), ["B = 1, H <= 256", WHOLE]),
        (Case(40, 256, 3, 1, 100), ["B = 1, H <= 256", WHOLE]),
        (Case(512, 512, 1, 1, 32), ["B = 1, H >= 512", WHOLE]),
        (Case(64, 64, 1, 32, 32), ["H <= 64, B >= 32", WHOLE]),
        (Case(64, 64, 1, 16, 32), [WHOLE]),
        (Case(128, 128, 1, 16, 32), [GEMM_BOUND, WHOLE]),
        (Case(1024, 1024, 2, 128, 32), [GEMM_BOUND, WHOLE]),
        (Case(2048, 2048, 1, 16, 32), [WHOLE]),
        (Case(128, 128, 1, 8, 1), [WHOLE]),
        (Case(128, 128, 1, 16, 32, dtype="bfloat16"), [f"{GEMM_BOUND}, bfloat16"]),
        (Case(128, 128, 1, 8, 32, dtype="bfloat16"), []),
        (Case(128, 128, 1, 1, 32, bidirectional=True), ["bidirectional"]),
        (Case(128, 128, 1, 16, 32, ragged=True), ["ragged"]),
        (Case(128, 128, 1, 16, 32, bidirectional=True, ragged=True), ["ragged"]),
        (Case(512, 512, 1, 1, 1), ["one step, B = 1"]),
    ],
    ids=str,
)
def test_each_shape_counts_in_its_classes(case, names):
    row = ours(case, DECODE if case.decodes else INFERENCE)
    assert means_of([row]).keys() == set(names)


def test_means_are_geometric_and_of_the_default_alone():
    a, b = Case(64, 64, 1, 1, 32), Case(128, 128, 1, 1, 32)
    rows = [
        ours(a, ratio=1.0),
        ours(b, ratio=4.0),
        ours(a, TRAINING, ratio=3.0),
        ours(a, FORWARD, ratio=50.0),
        ours(a, TRAINING, ratio=50.0, metric="peak memory"),
        make_row(a, "fastlstm aten", INFERENCE, ratio=50.0),
    ]
    means = means_of(rows)["B = 1, H <= 256"]
    assert means.shapes == 2
    assert means.ratios == pytest.approx({INFERENCE: 2.0, TRAINING: 3.0})
    assert means.shares == means.beside == {}


def test_the_share_is_averaged_where_products_are_the_work():
    a, b = Case(128, 128, 1, 16, 32), Case(256, 256, 1, 16, 32)
    rows = [ours(a, gemm_share=0.2), ours(b, gemm_share=0.8), ours(a, TRAINING, gemm_share=0.5)]
    found = means_of(rows)
    assert found[GEMM_BOUND].shares == pytest.approx({INFERENCE: 0.4, TRAINING: 0.5})
    assert found[WHOLE].shares == {}


def test_variants_stand_beside_and_do_not_count():
    large, step = Case(512, 512, 1, 1, 32), Case(512, 512, 1, 1, 1)
    rows = [
        ours(large),
        make_row(large, "fastlstm bf16 weights", INFERENCE, ratio=9.0),
        ours(step, DECODE, ratio=3.0),
        make_row(step, "fastlstm bf16 weights", DECODE, ratio=16.0),
        make_row(step, "fastlstm stream", DECODE, ratio=5.0),
    ]
    found = means_of(rows)
    assert found["B = 1, H >= 512"].ratios == pytest.approx({INFERENCE: 2.0})
    assert found["B = 1, H >= 512"].beside == pytest.approx({"bf16 weights": 9.0})
    assert found["one step, B = 1"].ratios == pytest.approx({DECODE: 3.0})
    assert found["one step, B = 1"].beside == pytest.approx({"stream": 5.0})
    assert found[WHOLE].beside == {}


def test_bfloat16_is_compared_with_float32_too():
    half = [Case(H, H, 1, 16, 32, dtype="bfloat16") for H in (128, 256, 512)]
    single = [Case(H, H, 1, 16, 32) for H in (128, 256)]
    rows = [row for case in half for row in (ours(case), ours(case, TRAINING, p50=2.0))]
    rows += [make_row(case, BASELINE, TRAINING, p50=99.0) for case in half]
    rows += [
        make_row(case, BASELINE, TRAINING, p50=p50, ratio=1.0)
        for case, p50 in zip(single, (4.0, 16.0), strict=True)
    ]
    (means,) = class_means(rows)
    assert means.ratios == pytest.approx({INFERENCE: 2.0, TRAINING: 2.0})
    # the third was not measured in float32
    expected = {"forward+backward over nn.LSTM in float32": sqrt(2.0 * 8.0)}
    assert means.beside == pytest.approx(expected)


def test_slower_are_those_of_the_default_below_1():
    case, other = Case(64, 64, 1, 1, 32), Case(128, 128, 1, 1, 1)
    worst, bad = ours(other, DECODE, ratio=0.5), ours(case, TRAINING, ratio=0.9)
    rows = [
        bad,
        ours(case, ratio=1.0),
        ours(case, FORWARD, ratio=0.1),
        ours(case, TRAINING, ratio=0.1, metric="saved for backward"),
        make_row(case, "fastlstm aten", INFERENCE, ratio=0.1),
        worst,
    ]
    assert slower(rows) == [worst, bad]


def printed(rows):
    console = Console(width=160, highlight=False, soft_wrap=True)
    with console.capture() as capture:
        print_tables(console, rows)
    return capture.get()


def test_the_report_ends_with_the_classes_and_where_it_is_slower():
    cases = [Case(128, 128, 1, 16, 32), Case(128, 128, 1, 16, 32, dtype="bfloat16")]
    rows = [
        row
        for case in cases
        for measure, ratio in ((INFERENCE, 0.75), (TRAINING, 3.0))
        for row in (
            make_row(case, BASELINE, measure, ratio=1.0, p50=6.0),
            ours(case, measure, ratio=ratio, p50=2.0, gemm_share=0.5),
        )
    ]
    lines = printed(rows).splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("by class"))
    classes = {line[:32].strip(): line[32:].split() for line in lines[start + 2 : -2]}
    assert classes[GEMM_BOUND] == ["1", "0.75x", "3.00x", "50%", "/", "50%"]
    beside = "forward+backward over nn.LSTM in float32 3.00x"
    assert classes[f"{GEMM_BOUND}, bfloat16"][-6:] == beside.split()
    assert lines[-1] == (
        "Below 1 in 2: I128 H128 L1 B16 T32 inference 0.75x;"
        " I128 H128 L1 B16 T32 bfloat16 inference 0.75x."
    )
    assert sum(line.startswith("inference, float32: how many times") for line in lines) == 1
    assert sum(line.startswith("inference, bfloat16: how many times") for line in lines) == 1


def test_a_report_without_our_rows_has_no_classes():
    row = make_row(Case(128, 128, 1, 16, 32), BASELINE, INFERENCE, ratio=1.0)
    assert "by class" not in printed([row])
