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
    *(Case(H, H, 1, B, 32) for H, B in product((32, 64, 128, 256, 512, 1024), (1, 8, 16, 32, 128))),
    *(Case(128, 128, 1, 8, T) for T in (1, 4, 16, 64, 256, 1024)),
    Case(64, 64, 1, 1, 100), Case(256, 256, 1, 1, 128), Case(32, 32, 1, 256, 128),
    Case(512, 512, 1, 1, 64), Case(1024, 1024, 1, 1, 64),
    Case(40, 64, 2, 1, 100),  # whether somebody speaks, in a second of sound
    Case(80, 512, 2, 1, 16),  # a chunk of speech, as a streaming encoder takes it
    Case(256, 256, 1, 20, 35), Case(200, 200, 2, 20, 20), Case(650, 650, 2, 20, 35),
    Case(128, 128, 2, 50, 50), Case(512, 512, 1, 32, 64), Case(40, 128, 3, 1, 100),
    # readers of lines of text: 128 and 256 units, a line or a batch of them
    *(Case(H, H, 1, B, 64, bidirectional=True) for H, B in product((128, 256), (1, 16))),
    Case(512, 512, 1, 16, 64, bidirectional=True),
    Case(60, 128, 4, 1, 293, bidirectional=True),  # who speaks when, in five seconds of sound
    *(Case(H, H, 1, B, T, ragged=True) for H, B, T in ((128, 32, 64), (256, 16, 100))),
    *(Case(300, H, 1, 32, 40, ragged=True) for H in (256, 512)),  # sentences of word vectors
    *(Case(H, H, layers, 1, 1) for H, layers in ((64, 1), (128, 1), (128, 2), (512, 1), (1024, 1))),
)
# Each of these is in FULL too: the same shape in float32 is what it is compared with.
BFLOAT16 = tuple(
    replace(case, dtype="bfloat16")
    for case in (
        *(Case(H, H, 1, B, 32) for H, B in product((128, 256, 512, 1024), (16, 32, 128))),
        Case(650, 650, 2, 20, 35),
    )
)
GPU_QUICK = tuple(
    Case(H, H, 1, B, 256)
    for H, B in product((64, 128, 160, 256, 512, 768, 1024), (1, 16, 32, 64, 128))
)
GPU_FULL = (
    *GPU_QUICK,
    *(Case(H, H, 2, B, 256) for H, B in product((64, 128, 256, 512, 1024), (1, 32, 64))),
    *(
        Case(H, H, 1, B, 256, bidirectional=True)
        for H, B in product((64, 128, 256, 512, 1024), (1, 32, 64))
    ),
    *(Case(H, H, 1, 32, T) for H, T in product((128, 512), (16, 64, 1024))),
    *(Case(H, H, 1, 32, 256, ragged=True) for H in (128, 512)),
    *(Case(H, H, 1, 1, 1) for H in (128, 512)),
)
# fmt: on


def parse_shape(text: str) -> Case:
    """A case from `I,H,L,B,T`. ValueError unless these are five positive whole numbers."""
    parts = text.split(",")
    if len(parts) != 5 or not all(part.isdecimal() and int(part) for part in parts):
        raise ValueError(f"--shapes takes I,H,L,B,T, five positive whole numbers each, got {text}")
    I, H, layers, B, T = map(int, parts)
    return Case(I, H, layers, B, T)


def choose_cases(
    quick: bool, shapes: Sequence[str], dtypes: Sequence[str] = (), device: str = "cpu"
) -> Iterator[Case]:
    """The shapes asked for, or the device's quick or full grid, in each dtype asked for.

    Without one it is float32, and of a CPU's full grid a part in bfloat16 beside.
    """
    grids = (QUICK, FULL) if device == "cpu" else (GPU_QUICK, GPU_FULL)
    cases = [parse_shape(text) for text in shapes] or grids[0 if quick else 1]
    for dtype in dtypes or ["float32"]:
        yield from (replace(case, dtype=dtype) for case in cases)
    if device == "cpu" and not (quick or shapes or dtypes):
        yield from BFLOAT16
