"""The tutorial: its commands run as printed, only shorter, and make the pictures that it shows."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fastlstm.rnnlm import corpus, yardsticks
from fastlstm.rnnlm.inspect import distance, units

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [DOCS / "rnnlm.md", DOCS / "rnnlm.zh.md"]
SHORT = ["--steps", "2", "--batch", "4"]
# what depends on the length of a text, not on the length of a run
SMALLER = [
    (yardsticks, "N_GRAM_MOST", 5000),
    (distance, "DOCUMENTS", 300),
    (units, "TOKENS", 2000),
]
SOURCE = b"def sky(clouds):\n    return ['in the sky' for cloud in (clouds or [])]\n" * 1000


def blocks(page):
    return re.findall(r"^```sh\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)


def pictures(page):
    return re.findall(r"!\[[^]]+\]\(([^)]+)\)", page.read_text(encoding="utf-8"))


def commands():
    """The arguments of each `fastlstm` command, or a shell script whole, in order."""
    for block in blocks(PAGES[0]):
        if block.startswith("fastlstm "):
            yield from (shlex.split(line)[1:] for line in block.splitlines())
        else:
            yield block


def shortened(arguments):
    """Those of train, whose length is that of the run, get another one; others are as printed."""
    if arguments[0] != "train":
        return arguments
    kept = list(arguments)
    for option in ("--steps", "--epochs", "--batch"):
        if option in kept:
            at = kept.index(option)
            del kept[at : at + 2]
    small = ["--france-docs", "300"] if "france" in kept else []
    return [*kept, *SHORT, *small]


def test_both_pages_have_the_same_commands_and_pictures():
    english, chinese = PAGES
    assert len(blocks(english)) > 6
    assert blocks(chinese) == blocks(english)
    assert pictures(chinese) == pictures(english)
    runs = [re.findall(r"^## (\d)\. ", page.read_text(encoding="utf-8"), re.M) for page in PAGES]
    assert runs == [list("123456")] * 2


def test_both_pages_have_the_same_numbers_in_their_tables():
    tables = [
        [re.findall(r"\d+\.\d+", line) for line in page.read_text().splitlines() if line[:1] == "|"]
        for page in PAGES
    ]
    assert tables[0] == tables[1]


def test_pictures_are_there_and_small():
    named = {DOCS / name for name in pictures(PAGES[0])}
    assert named == set((DOCS / "rnnlm").iterdir())
    for path in named:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size < 120_000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_readme_leads_to_the_page(page):
    assert f"(docs/{page.name})" in (DOCS.parent / "README.md").read_text(encoding="utf-8")


def test_commands_run_as_printed(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    monkeypatch.setattr(corpus, "read_stdlib", lambda: ("stdlib", SOURCE))
    for module, name, value in SMALLER:
        monkeypatch.setattr(module, name, value)
    drawn = set()
    for arguments in commands():
        if isinstance(arguments, str):
            subprocess.run(["bash", "-euc", arguments], check=True)
            continue
        code, out, err = command(*shortened(arguments))
        assert (code, err) == (0, ""), arguments
        drawn |= {Path(line).name for line in out.splitlines() if line.endswith(".png")}
        if "--out" in arguments:
            run = tmp_path / arguments[arguments.index("--out") + 1]
            assert (run / "log.jsonl").stat().st_size
    assert {Path(name).name for name in pictures(PAGES[0])} <= drawn
    assert len((tmp_path / "football.txt").read_text(encoding="utf-8").splitlines()) == 5000
    assert len((tmp_path / "topics.txt").read_text(encoding="utf-8")) > 100_000
