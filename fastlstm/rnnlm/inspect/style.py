"""Colours and fonts of the pictures."""

import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

from fastlstm.rnnlm.inspect.page import Section

# Okabe and Ito's colours, which stay apart for colour-blind readers
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#767676"
SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "axes.unicode_minus": False,
}
SANS, MONO = "DejaVu Sans", "DejaVu Sans Mono"  # come with matplotlib
HINT = (
    "no font here can draw {characters}: install one (Debian and Ubuntu: apt-get install "
    "fonts-noto-cjk) or name a file with --font; until then the PNG numbers the words"
)


def find_font(text: Iterable[str], file: str | None = None) -> tuple[str | None, str]:
    """The family of a font that has all characters DejaVu lacks; None and a hint if none has.

    file: a font to take before those of the machine.
    """
    needed = {ord(character) for character in "".join(text) if character.isprintable()}
    needed -= _characters(font_manager.findfont(SANS))
    if file is not None and not Path(file).is_file():
        raise ValueError(f"--font: there is no file {file}")
    if not needed:
        return SANS, ""
    for path in [file] if file is not None else _machine_fonts():
        if needed <= _characters(path):
            font_manager.fontManager.addfont(path)
            return font_manager.FontProperties(fname=path).get_name(), ""
    missing = "".join(chr(code) for code in sorted(needed)[:8])
    return None, HINT.format(characters=missing)


def use_font_for(text: Iterable[str], file: str | None = None) -> str:
    """Let pictures drawn from now on have these characters; returns a hint where none can."""
    family, hint = find_font(text, file)
    if family not in (None, SANS):
        matplotlib.rcParams["font.family"] = [SANS, family]
        matplotlib.rcParams["font.monospace"] = [MONO, family]
    return hint


def drawable_words(labels: list[str], section: Section, file: str | None = None) -> list[str]:
    """The labels, or where no font has their characters numbers, and a note what they stand for."""
    hint = use_font_for(labels, file)
    if not hint:
        return labels
    section.note(hint)
    section.say(", ".join(f"{number} = {label}" for number, label in enumerate(labels, 1)))
    return [str(number) for number in range(1, len(labels) + 1)]


def columns(character: str) -> int:
    """How many columns of a fixed-width text a character takes."""
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _machine_fonts() -> list[str]:
    """Font files, the plain ones before the bold and the slanted, sans before serif."""

    def rank(path: str) -> tuple[bool, bool, str]:
        name = Path(path).name.lower()
        odd = any(word in name for word in ("bold", "italic", "oblique", "light", "black", "thin"))
        return odd, "serif" in name or "mono" in name, name

    return sorted(font_manager.findSystemFonts(), key=rank)


@cache
def _characters(path: str) -> frozenset[int]:
    """The code points a font file has glyphs for; none if it cannot be read."""
    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()
