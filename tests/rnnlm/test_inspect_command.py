"""`fastlstm inspect` on small runs: the report, the pictures, the errors."""

import io
import re
import shutil
import struct
import sys

import pytest
from conftest import SENTENCE, SMALL
from matplotlib import font_manager

from fastlstm.cli import main
from fastlstm.rnnlm.inspect import style
from fastlstm.rnnlm.inspect.arguments import VIEWS
from fastlstm.rnnlm.inspect.command import VIEWS as FUNCTIONS
from fastlstm.rnnlm.inspect.page import Section

FILES = {
    "curves": ["curves"],
    "context": ["context"],
    "gates": ["gates", "gates-open"],
    "units": ["units", "units-text"],
    "gradients": ["gradients"],
    "spectrum": ["spectrum"],
    "saturation": ["saturation"],
}
CHINESE = ["\u4e2d\u56fd", "\u7537\u8db3"]


@pytest.fixture(scope="module", params=["gru", "rnn"])
def other(request, tmp_path_factory):
    """A run of another cell, at the word level."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "fox.txt").write_text(SENTENCE * 60, encoding="utf-8")
    arguments = ["--level", "word", "--cell", request.param, "--steps", "5"]
    assert (
        main(["train", str(folder / "fox.txt"), *SMALL, *arguments, "--out", str(folder / "run")])
        == 0
    )
    return request.param, folder / "run"


def check_report(path, pictures):
    """One file that names no other, with each picture in it; and the picture beside it."""
    page = path.read_text(encoding="utf-8")
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "url(" not in page
    assert "{picture:" not in page
    for name in pictures:
        data = (path.parent / f"{name}.png").read_bytes()
        assert data.startswith(b"\x89PNG")
        assert min(struct.unpack(">II", data[16:24])) > 60
    return page


def test_views_are_those_of_the_help():
    assert tuple(FUNCTIONS) == VIEWS


@pytest.mark.parametrize("view", FILES)
def test_each_view(command, run, view):
    code, out, err = command("inspect", run, view)
    assert (code, err) == (0, "")
    page = check_report(run / "inspect" / f"{view}.html", FILES[view])
    assert page.count("data:image/png") == len([f for f in FILES[view] if f != "units-text"])
    for name in FILES[view]:
        assert f"{name}.png" in out


def test_all_views_of_other_cells(command, other, tmp_path):
    cell, run = other
    code, out, _ = command("inspect", run, "--out", tmp_path / "report")
    assert code == 0
    page = check_report(tmp_path / "report" / "report.html", ["gates", "gradients", "saturation"])
    assert "distance: left out: " in out
    assert "was not trained on france" in page
    assert ("an Elman cell has no gates" in out) == (cell == "rnn")
    assert (tmp_path / "report" / "gates-open.png").exists() == (cell == "gru")


def test_given_text_is_escaped_and_shown(command, run, tmp_path):
    (tmp_path / "given.txt").write_text("the <fox> & dog")
    code, _, _ = command(
        "inspect", run, "units", "gates", "--file", tmp_path / "given.txt", "--unit", 3
    )
    assert code == 0
    page = check_report(run / "inspect" / "units-gates.html", ["gates-unit"])
    assert "<fox>" not in page
    assert "layer 1, unit 3" in page


def test_text_from_standard_input(command, run, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("the \u6211\u5728 fox".encode())))
    assert command("inspect", run, "gates", "--file", "-")[0] == 0
    assert "\u6211 \u5728" in (run / "inspect" / "gates.html").read_text(encoding="utf-8")


def test_beside(command, run, trained):
    code, _, _ = command(
        "inspect", run, "curves", "gradients", "--beside", trained, "--beside", trained
    )
    assert code == 0
    page = (run / "inspect" / "curves-gradients.html").read_text()
    assert page.count("<td>best of run (lstm)</td>") == 3
    assert page.count("<td>run (lstm)</td>") == 3


def test_runs_beside_read_the_same_text(command, run, trained):
    """A copy of the run has the run's own gradients; so short a text has none at k = 50."""
    options = ["--text", SENTENCE[:13], "--beside", trained]
    assert command("inspect", run, "gradients", *options)[0] == 0
    page = (run / "inspect" / "gradients.html").read_text()
    own, beside = re.findall(r"<td>run \(lstm\)</td>(.*?)</tr>", page)
    assert own == beside
    assert len(re.findall(r'<td class="number">', own)) == 3  # k = 0, 10 and the last one
    assert own.count("<td></td>") == 2  # |lambda_max| of an LSTM, and k = 50


def test_run_whose_text_is_gone_is_drawn_without(command, run, trained, tmp_path):
    moved = shutil.move(trained.parent / "fox.txt", tmp_path / "fox.txt")
    try:
        code, out, _ = command("inspect", run)
        assert code == 0
        assert "curves: no baselines: cannot read" in out
        assert "units: left out: cannot read" in out
        assert (run / "inspect" / "spectrum.png").exists()
        assert command("inspect", run, "units", "--text", SENTENCE)[0] == 0
    finally:
        shutil.move(moved, trained.parent / "fox.txt")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["shape"], "'shape' is none of curves, context, gates"),
        (["distance"], "distance: .* was not trained on france"),
        (["--layer", 2], "--layer must be at least 0 and below 2, got 2"),
        (["--unit", 12], "--unit must be at least 0 and below 12, got 12"),
        (["gates", "--text", ""], "gates: the text to look at is empty"),
        (["--file", "none.txt"], "cannot read none.txt"),
        (["gates", "--font", __file__], "--font must be a font file"),
        (["gradients", "--text", "a"], "gradients: the text must have at least 3 tokens"),
    ],
)
def test_mistakes(fails, run, arguments, message):
    assert re.search(message, fails("inspect", run, *arguments))


def test_without_a_font_words_are_numbered(command, run, monkeypatch):
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [])
    code, out, err = command("inspect", run, "gates", "units", "--text", "the \u6cd5\u56fd")
    assert (code, err) == (0, "")
    assert "no font here can draw \u56fd\u6cd5" in out
    assert "apt-get install fonts-noto-cjk" in out
    page = (run / "inspect" / "gates-units.html").read_text(encoding="utf-8")
    assert "5 = \u6cd5, 6 = \u56fd" in page


def test_numbers_stand_for_the_words(monkeypatch):
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [])
    section = Section("gates", "Gates")
    assert style.drawable_words(["I", *CHINESE], section) == ["1", "2", "3"]
    assert "1 = I, 2 = \u4e2d\u56fd, 3 = \u7537\u8db3" in section.parts[-1]
    section = Section("gates", "Gates")
    assert style.drawable_words(["I", "caf\u00e9"], section) == ["I", "caf\u00e9"]
    assert section.parts == []


def test_installed_font_is_found():
    paths = [p for p in font_manager.findSystemFonts() if "\u56fd" in style._characters(p)]
    if not paths:
        pytest.skip("no font here has Chinese characters")
    family, missing = style.find_font(CHINESE)
    assert not missing
    assert style.find_font(CHINESE, paths[0])[1] == frozenset()
    assert (
        font_manager.findfont(family, fallback_to_default=False) in font_manager.findSystemFonts()
    )


def test_the_lectures_sentence_is_read_where_it_can_be(command, tmp_path):
    (tmp_path / "football.txt").write_text("中国 足球 真烂 我 想 大吃\n" * 100, encoding="utf-8")
    options = ["--level", "word", "--steps", "1", "--out", tmp_path / "run"]
    assert command("train", tmp_path / "football.txt", *SMALL, *options)[0] == 0
    code, out, _ = command("inspect", tmp_path / "run", "gates")
    assert code == 0
    assert "tokens with * are not in the run's vocabulary" in out
    page = (tmp_path / "run" / "inspect" / "gates.html").read_text(encoding="utf-8")
    assert "Read: 中国 男足* 踢得* 真烂 气得我* 想 大吃 一顿*" in page


def test_without_matplotlib_one_line_says_so(fails, run, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("fastlstm.rnnlm.inspect.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "the trainer needs matplotlib: pip install 'fastlstm[train]'" in fails("inspect", run)


def test_long_sentence_is_cut(command, run):
    code, out, _ = command("inspect", run, "gates", "--text", SENTENCE * 2)
    assert code == 0
    assert "gates: of the text the first 40 tokens are drawn" in out
    page = (run / "inspect" / "gates.html").read_text(encoding="utf-8")
    assert "<summary>the numbers, 40 rows</summary>" in page
