"""A text in chunks that are cut where no level of tokens minds it: memory stays flat."""

import codecs
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

CHUNK = 2**20  # bytes
CHUNK_MOST = 2**24  # bytes: a text without blanks is cut at a character


class Bytes(Protocol):
    """What is asked of a text's bytes; `bytes` are, and a file is without being read."""

    def __len__(self) -> int: ...

    def __getitem__(self, at: slice, /) -> bytes: ...


class FileBytes:
    """The bytes of a file, read when they are asked for."""

    def __init__(self, path: Path, sha256: str | None = None) -> None:
        self._path = path
        self._file = path.open("rb")
        self._stat = os.fstat(self._file.fileno())
        self.sha256 = sha256 or hashlib.file_digest(self._file, "sha256").hexdigest()

    def __len__(self) -> int:
        return self._stat.st_size

    def __getitem__(self, at: slice, /) -> bytes:
        start, stop, _ = at.indices(len(self))
        return os.pread(self._file.fileno(), max(0, stop - start), start)

    def check_unchanged(self) -> None:
        """ValueError where the file was written to since it was opened."""
        now, then = os.fstat(self._file.fileno()), self._stat
        if (now.st_mtime_ns, now.st_size) != (then.st_mtime_ns, then.st_size):
            raise ValueError(f"{self._path} has changed while it was read")


def read_chunks(data: Bytes, ranges: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """The bytes of some ranges, joined and cut into chunks.

    A chunk ends after a line end, or after a blank where no line ends in it, or at a character
    where there is neither in `CHUNK_MOST` bytes.
    """
    rest = b""
    for start, end in ranges:
        for begin in range(start, end, CHUNK):
            rest += data[begin : min(begin + CHUNK, end)]
            if len(rest) < CHUNK:
                continue
            cut = rest.rfind(b"\n") + 1 or rest.rfind(b" ") + 1
            if not cut and len(rest) >= CHUNK_MOST:
                cut = _character_end(rest)
            if cut:
                yield rest[:cut]
                rest = rest[cut:]
    if rest:
        yield rest


def read_tail(data: Bytes, ranges: Sequence[tuple[int, int]], most: int) -> bytes:
    """The last bytes of some ranges joined, at most `most`."""
    tail = b""
    for start, end in reversed(ranges):
        tail = data[max(start, end - (most - len(tail))) : end] + tail
    return tail


def check_utf8(blocks: Iterable[bytes], origin: str) -> None:
    """ValueError with the offset of the first byte that is no UTF-8; blocks end anywhere."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0
    for block in _and_end(blocks):
        held = decoder.getstate()[0]
        try:
            decoder.decode(block or b"", final=block is None)
        except UnicodeDecodeError as error:
            at = offset - len(held) + error.start
            value = (held + (block or b""))[error.start]
            raise ValueError(
                f"{origin} is not UTF-8 at byte {at} (0x{value:02x}); --level byte takes any file"
            ) from error
        offset += len(block or b"")


def _and_end(blocks: Iterable[bytes]) -> Iterator[bytes | None]:
    yield from blocks
    yield None


def _character_end(data: bytes) -> int:
    """Where the last whole character of UTF-8 ends."""
    for back in range(1, 5):
        if data[-back] & 0xC0 != 0x80:  # its first byte
            length = 1 if data[-back] < 0xC0 else 2 + (data[-back] >= 0xE0) + (data[-back] >= 0xF0)
            return len(data) - back if length > back else len(data)
    return len(data)
