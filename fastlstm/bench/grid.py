"""Which shapes are measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

from fastlstm.bench.case import Case

# fmt: off
QUICK = (
    *(Case(H, H, 1, B, 32) for H, B in product((64, 128, 256, 512), (1, 8, 32))),
    *(Case(128, 128, 1, 8, T) for T in (4, 128)),
    Case(128, 128, 2, 50, 50), Case(128, 128, 1, 16, 32, bidirectional=True),
    Case(128, 128, 1, 32, 64, ragged=True), Case(128, 128, 1, 1, 1),
)
FULL = (
    *(Case(H, H, 1, B, 32) for H, B in product((32, 64, 128, 256, 512, 1024), (1, 8, 32, 128))),
    *(Case(128, 128, 1, 8, T) for T in (1, 4, 16, 64, 256, 1024)),
    Case(64, 64, 1, 1, 100), Case(256, 256, 1, 1, 128), Case(32, 32, 1, 256, 128),
    Case(256, 256, 1, 20, 35), Case(200, 200, 2, 20, 20), Case(650, 650, 2, 20, 35),
    Case(128, 128, 2, 50, 50), Case(512, 512, 1, 32, 64), Case(40, 128, 3, 1, 100),
    *(Case(H, H, 1, B, 64, bidirectional=True) for H, B in ((128, 1), (128, 16), (512, 16))),
    *(Case(H, H, 1, B, T, ragged=True) for H, B, T in ((128, 32, 64), (256, 16, 100))),
    *(Case(H, H, layers, 1, 1) for H, layers in ((64, 1), (128, 1), (128, 2), (512, 1), (1024, 1))),
)
# fmt: on


def parse_shape(text: str) -> Case:
    """A case from `I,H,L,B,T`. ValueError unless these are five positive whole numbers."""
    parts = text.split(",")
    if len(parts) != 5 or not all(part.isdecimal() and int(part) for part in parts):
        raise ValueError(f"--shapes takes I,H,L,B,T, five positive whole numbers each, got {text}")
    I, H, layers, B, T = map(int, parts)
    return Case(I, H, layers, B, T)


def choose_cases(quick: bool, shapes: Sequence[str], dtypes: Sequence[str]) -> Iterator[Case]:
    """The shapes asked for, or the quick or the full grid, in each dtype."""
    cases = [parse_shape(text) for text in shapes] or (QUICK if quick else FULL)
    for dtype in dtypes:
        yield from (replace(case, dtype=dtype) for case in cases)
