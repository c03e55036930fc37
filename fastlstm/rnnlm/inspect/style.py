"""Colours and fonts of the pictures."""

import logging
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
SANS, MONO = "DejaVu Sans", "DejaVu Sans Mono"  # come with matplotlib
STYLE: Any = {
    "font.family": [SANS],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "axes.unicode_minus": False,
    "text.parse_math": False,  # labels are words of the text, $ and all
}
HINT = (
    "no font here can draw {characters}: install one (Debian and Ubuntu: apt-get install "
    "fonts-noto-cjk) or name a file with --font; {instead}"
)


def find_font(text: Iterable[str], file: str | None = None) -> tuple[str | None, frozenset[str]]:
    """The family of the font that has most of the characters DejaVu lacks, and what it lacks too.

    None where no font has any, or none is needed. file: the only font to take, if given.
    """
    if file is not None and not _characters(file):
        raise ValueError(f"--font must be a font file, got {file}")
    needed = {character for character in "".join(text) if character.isprintable()}
    needed -= _characters(font_manager.findfont(SANS))
    best, found = None, 0
    for path in [file] if file is not None else _machine_fonts() if needed else []:
        has = len(needed & _characters(path))
        if has > found:
            best, found = path, has
        if found == len(needed):
            break
    if best is None:
        return None, frozenset(needed)
    font_manager.fontManager.addfont(best)
    family = font_manager.FontProperties(fname=best).get_name()
    return family, frozenset(needed - _characters(best))


def use_font_for(text: Iterable[str], file: str | None = None) -> frozenset[str]:
    """Let pictures drawn from now on have these characters; returns those that no font has."""
    family, missing = find_font(text, file)
    if family is not None:
        # it says of every font that has no weight just so which one it takes
        logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
        matplotlib.rcParams["font.family"] = [SANS, family]
    return missing


def monospace() -> list[str]:
    """Families for text in columns; matplotlib looks for a missing character in the next one."""
    return [MONO, *matplotlib.rcParams["font.family"]]


def drawable_words(labels: list[str], section: Section, file: str | None = None) -> list[str]:
    """The labels, or where no font has their characters numbers, and a note what they stand for."""
    missing = use_font_for(labels, file)
    if not missing:
        return labels
    section.note(hint(missing, "until then the pictures number the words"))
    section.say(", ".join(f"{number} = {label}" for number, label in enumerate(labels, 1)))
    return [str(number) for number in range(1, len(labels) + 1)]


def hint(missing: frozenset[str], instead: str) -> str:
    """What to do about characters that no font has, and what is drawn instead."""
    return HINT.format(characters="".join(sorted(missing)[:8]), instead=instead)


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
def _characters(path: str) -> frozenset[str]:
    """The characters a font file has glyphs for; none if it cannot be read."""
    try:
        return frozenset(map(chr, FT2Font(path).get_charmap()))
    except (OSError, RuntimeError):
        return frozenset()
