"""What general compressors pay for a text, once they have seen what comes before it."""

import lzma
import zlib
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Protocol

BEFORE = 1_000_000  # bytes of the training text that are given; gzip looks back 32,768 anyhow


class Compressor(Protocol):
    """What takes a text piece by piece."""

    def compress(self, data: bytes, /) -> bytes:
        """What is ready after more of the text."""

    def flush(self) -> bytes:
        """The rest."""


def _gzip() -> Compressor:
    return zlib.compressobj(9, wbits=zlib.MAX_WBITS + 16)


COMPRESSORS: dict[str, Callable[[], Compressor]] = {
    "gzip -9": _gzip,
    "xz -6": lambda: lzma.LZMACompressor(preset=6),
}


def compressed_bytes(before: bytes, chunks: Iterable[bytes]) -> dict[str, int]:
    """Bytes by which a compressed `before` grows when a text, in chunks, is put after it."""
    before = before[-BEFORE:]
    sizes = {}
    for name, make in COMPRESSORS.items():
        alone = make()
        sizes[name] = -len(alone.compress(before)) - len(alone.flush())
        del alone  # xz takes 94 MB
    compressors = {name: make() for name, make in COMPRESSORS.items()}
    chunks = chain([before], chunks)
    for chunk in chunks:
        for name, own in compressors.items():
            sizes[name] += len(own.compress(chunk))
    for name, own in compressors.items():
        sizes[name] += len(own.flush())
    return sizes
