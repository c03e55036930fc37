"""What a unit may keep track of in a text, character by character."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Feature = npt.NDArray[np.int64]

QUOTES = {'"': '"', "'": "'", "`": "`", "\u201c": "\u201d", "\u2018": "\u2019", "\u300c": "\u300d",
          "\u300e": "\u300f", "\u00ab": "\u00bb"}  # fmt: skip
BRACKETS = dict(zip("([{\uff08\u3010\u300a\u3008", ")]}\uff09\u3011\u300b\u3009", strict=True))
QUOTE_MOST = 1000  # characters: a mark without its partner by then is no quotation
TAB = 8


def text_features(text: str) -> dict[str, Feature]:
    """By name, a number for each character: as things stand after it was read."""
    quoted = inside_quotes(text)
    return {
        "inside quotes": quoted,
        "bracket depth": bracket_depth(text, quoted),
        "indentation": indentation(text),
        "position in line": line_position(text),
    }


def token_features(pieces: Sequence[str]) -> dict[str, Feature]:
    """The same for each token: of its last character, or of the one before where it has none."""
    lengths = np.array([len(piece) for piece in pieces])
    last = np.cumsum(lengths) - 1
    features = text_features("".join(pieces))
    return {name: np.where(last < 0, 0, values[last]) for name, values in features.items()}


def inside_quotes(text: str) -> Feature:
    """1 from an opening quotation mark up to its partner; an apostrophe within a word is none."""
    marks = np.zeros(len(text), dtype=np.int64)
    at = 0
    while at < len(text):
        closing = QUOTES.get(text[at])
        end = -1 if closing is None or _in_word(text, at) else _partner(text, at + 1, closing)
        if end < 0:
            at += 1
        else:
            marks[at:end] = 1
            at = end + 1
    return marks


def bracket_depth(text: str, quoted: Feature) -> Feature:
    """How many brackets are open, of any kind, outside quotations; none after a blank line."""
    depths = np.zeros(len(text), dtype=np.int64)
    depth = 0
    for at, character in enumerate(text):
        if not quoted[at]:
            if character in BRACKETS:
                depth += 1
            elif character in BRACKETS.values():
                depth = max(0, depth - 1)
        if character == "\n" and text[at - 1 : at] == "\n":
            depth = 0
        depths[at] = depth
    return depths


def indentation(text: str) -> Feature:
    """Columns of white space the present line starts with, as far as it has been read."""
    found = np.zeros(len(text), dtype=np.int64)
    columns, leading = 0, True
    for at, character in enumerate(text):
        if character == "\n":
            columns, leading = 0, True
        elif leading and character == " ":
            columns += 1
        elif leading and character == "\t":
            columns += TAB - columns % TAB
        else:
            leading = False
        found[at] = columns
    return found


def line_position(text: str) -> Feature:
    """Characters read of the present line; 0 at its end."""
    positions = np.zeros(len(text), dtype=np.int64)
    position = 0
    for at, character in enumerate(text):
        position = 0 if character == "\n" else position + 1
        positions[at] = position
    return positions


def _in_word(text: str, at: int) -> bool:
    return text[at] in "'\u2018\u2019" and at > 0 and text[at - 1].isalnum()


def _partner(text: str, start: int, closing: str) -> int:
    """Where the quotation that starts before `start` ends, -1 if nowhere near."""
    limit = start + QUOTE_MOST
    at = text.find(closing, start, limit)
    # an apostrophe has letters on both sides; a closing mark has not
    while at >= 0 and _in_word(text, at) and text[at + 1 : at + 2].isalnum():
        at = text.find(closing, at + 1, limit)
    return at
