"""The pictures of a run: drawn from made-up rows, and read back from the figures."""

from dataclasses import replace

import pytest
from made_up_rows import machine_rows, make_row, make_rows, panels, texts_at, time_rows, written

from fastlstm.bench.case import INFERENCE, PASSES, TRAINING, Case
from fastlstm.bench.row import BASELINE

matplotlib = pytest.importorskip("matplotlib")
plots = pytest.importorskip("fastlstm.bench.plots")

NAMES = ("speedup", "time", "roofline", "memory")
GRID = [Case(H, H, 1, B, 32) for H in (64, 128, 256) for B in (1, 16)]
LENGTHS = [Case(128, 128, 1, 16, T) for T in (4, 128)]
ROWS = make_rows([*GRID, *LENGTHS, Case(40, 128, 3, 1, 100)])


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_pictures_are_written(tmp_path):
    before = dict(matplotlib.rcParams)
    paths = plots.draw(ROWS, tmp_path / "new" / "a-machine.v2")
    assert paths == [tmp_path / "new" / f"a-machine.v2-{name}.png" for name in NAMES]
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG")
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([], id="nothing"),
        pytest.param(list(machine_rows(["float32"])), id="limits"),
        pytest.param([row for row in ROWS if not row.auto and row.T == 32], id="peers"),
        pytest.param(
            [replace(row, measure="decode", unit="us") for row in time_rows(Case(64, 64, 1, 1, 1))],
            id="decode",
        ),
    ],
)
def test_without_rows_there_is_no_picture(rows, tmp_path):
    assert plots.draw(rows, tmp_path / "new" / "run") == []
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("dtypes", [["float32"], ["float32", "bfloat16"]], ids="-".join)
@pytest.mark.parametrize("shapes", [1, 40])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_cut_off(name, shapes, dtypes):
    cases = [Case(16 * n, 16 * n, 1, 8, 32 + 9 * (n // 20)) for n in range(1, shapes + 1)]
    cases += [Case(1024, 1024, 1, 8, T, True) for T in (1, 20000)[: shapes - 1]]
    rows = make_rows([replace(case, dtype=dtype) for dtype in dtypes for case in cases])
    with matplotlib.rc_context(plots.STYLE):
        figure = getattr(plots, f"{name}_figure")(rows)
        if figure is None:
            assert (name, shapes) == ("time", 1)
            return
        figure.draw_without_rendering()
        left, bottom, right, top = figure.get_tightbbox().extents
    assert min(left, bottom) >= 0
    assert right <= figure.get_figwidth() == 7
    assert top <= figure.get_figheight()


def test_speedup_is_in_its_cell():
    axes = panels(plots.speedup_figure(ROWS))
    assert list(axes) == [f"{measure}, float32" for measure in PASSES]
    for measure in PASSES:
        ratios = {
            (row.H, row.B): f"{row.ratio:.2f}x"
            for row in ROWS
            if row.auto and (row.T, row.measure, row.metric) == (32, measure, "time")
        }
        panel = axes[f"{measure}, float32"]
        sizes = [int(label.get_text()) for label in panel.get_xticklabels()]
        # written at the left panel only, for all
        batches = [int(label.get_text()) for label in next(iter(axes.values())).get_yticklabels()]
        assert (sizes, batches) == ([64, 128, 256], [1, 16])
        found = {(sizes[x], batches[y]): text for (x, y), text in texts_at(panel).items()}
        assert found == {(case.H, case.B): ratios[case.H, case.B] for case in GRID}


def test_speedup_says_of_what_it_is():
    text = written(plots.speedup_figure(ROWS))
    for part in ("above 1 is faster", "T = 32, 1 layer", "AMD EPYC", "8 threads", "torch 2.14.0"):
        assert part in text
    assert "commit 0123456789" in text
    assert "not measured" not in text


def test_cells_not_measured_are_hatched():
    rows = [row for row in ROWS if (row.H, row.B, row.T) != (256, 16, 32)]
    figure = plots.speedup_figure([replace(r, ratio=None) if r.B == r.T else r for r in rows])
    assert "not measured" in written(figure)
    for axes in figure.axes:
        hatched = [patch.get_xy() for patch in axes.patches if patch.get_hatch()]
        assert hatched == [(1.5, 0.5)]
        assert (2, 1) not in texts_at(axes)


@pytest.mark.parametrize(
    "others",
    [
        {"directions": 2}, {"lengths": "ragged"}, {"I": 7}, {"auto": False}, {"ratio": None},
        {"metric": "speed"}, {"measure": "decode"},
    ],
    ids=str,
)  # fmt: skip
def test_speedup_takes_no_other_rows(others):
    case = Case(64, 64, 1, 1, 32)
    row = make_row(case, "fastlstm cpu", INFERENCE, ratio=1.5)
    assert plots.speedup_figure([row]) is not None
    assert plots.speedup_figure([replace(row, **others)]) is None


def test_colours_part_at_one():
    rows = [
        make_row(Case(H, H, 1, 1, 32), "fastlstm cpu", INFERENCE, ratio=ratio)
        for H, ratio in ((1, 0.5), (2, 1.0), (3, 2.0), (4, 30.0))
    ]
    patches = plots.speedup_figure(rows).axes[0].patches
    (slow, _, slow_blue, _), even, (fast, _, fast_blue, _), _ = (p.get_facecolor() for p in patches)
    assert slow > slow_blue
    assert even == pytest.approx((1, 1, 1, 1), abs=0.01)
    assert fast < fast_blue


def test_time_is_per_step():
    figure = plots.time_figure(ROWS)
    assert "I = 128, H = 128, 1 layer, B = 16" in written(figure)
    assert legend_of(figure) == [BASELINE, "fastlstm cpu", "fastlstm aten", "LSTMCell loop",
                                 "lower bound"]  # fmt: skip
    axes = panels(figure)[f"{TRAINING}, float32"]
    chosen = [row for row in ROWS if row.measure == TRAINING and (row.H, row.B) == (128, 16)]
    chosen = sorted((r for r in chosen if r.metric == "time"), key=lambda row: row.T)
    lines = {line.get_marker(): line for line in axes.lines}
    for provider, marker in ((BASELINE, "s"), ("fastlstm cpu", "o")):
        curve = [(row.T, 1000 * row.p50 / row.T) for row in chosen if row.provider == provider]
        assert [T for T, _ in curve] == [4, 32, 128]
        assert [list(part) for part in lines[marker].get_data()] == [
            pytest.approx(part) for part in zip(*curve, strict=True)
        ]
    assert lines["s"].get_color() == "#000000"
    floor = [line for line in axes.lines if line.get_linestyle() == ":"][-1]
    expected = [1000 * row.floor / row.T for row in chosen if row.auto]
    assert list(floor.get_ydata()) == pytest.approx(expected)
    bottom, top = axes.get_ylim()
    assert bottom <= min(expected) < max(curve)[1] <= top


def test_one_length_makes_no_curve():
    assert plots.time_figure(make_rows(GRID)) is None


def test_twelve_providers_look_different():
    names = [f"peer {index}" for index in range(11)]
    rows = [
        make_row(case, name, INFERENCE) for case in LENGTHS for name in (BASELINE, *names)
    ]  # fmt: skip
    lines = [line for line in plots.time_figure(rows).axes[0].lines if len(line.get_xdata())]
    looks = {(line.get_marker(), line.get_markerfacecolor()) for line in lines}
    assert len(lines) == len(looks) == 12


@pytest.mark.parametrize("name", ["speedup", "roofline", "memory"])
def test_only_the_default_is_drawn(name):
    picture = getattr(plots, f"{name}_figure")
    assert picture(ROWS) is not None
    assert picture([replace(row, auto=False) for row in ROWS]) is None
