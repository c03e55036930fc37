"""The texts a run can train on: a file, Python's standard library, or the generated `france`."""

import hashlib
import os
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.france import France, generate_france

# directories of tests, and of packages that are installed beside the standard library
EXCLUDED = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
STDLIB_LEAST = 1_000_000  # bytes: less than this is no standard library but a stripped remnant
FALLBACK_MOST = 16_000_000  # bytes: whatever else lies on sys.path may be far too much
PIECE_LEAST = 100  # bytes: shorter pieces would be all seams
LINE_SEARCH = 65_536  # bytes looked through for a line end to split at


@dataclass(frozen=True)
class Corpus:
    """A text: where it comes from, its bytes, and their sha256.

    `france` is set for the generated corpus, whose true probabilities are known.
    """

    name: str
    origin: str
    data: bytes
    france: France | None = None

    @property
    def sha256(self) -> str:
        """Fingerprint of the bytes: losses are comparable only where it is the same."""
        return hashlib.sha256(self.data).hexdigest()


def read_corpus(config: Config) -> Corpus:
    """The text that `config.text` names.

    ValueError where it is empty, a directory, missing, or no UTF-8 although the level needs that.
    """
    if config.text == "france":
        france = generate_france(config.france_docs, config.france_distance)
        origin = f"france, {config.france_docs} generated documents"
        return Corpus("france", origin, france.text.encode(), france)
    if config.text == "stdlib":
        corpus = _read_stdlib()
    else:
        path = Path(config.text)
        corpus = Corpus(path.stem or "text", str(path), read_text(path))
    if config.level != "byte":
        check_utf8(corpus.data, corpus.origin)
    return corpus


def read_text(path: Path) -> bytes:
    """The bytes of a text file; ValueError where there is none or nothing in it."""
    if path.is_dir():
        raise ValueError(f"{path} is a directory, not a text file")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    if not data:
        raise ValueError(f"{path} is empty")
    return data


def check_utf8(data: bytes, origin: str) -> None:
    """ValueError with the offset of the first byte that is no UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{origin} is not UTF-8 at byte {error.start} (0x{data[error.start]:02x}); "
            "--level byte takes any file"
        ) from error


def split_ranges(data: bytes, fraction: float, limit: int, pieces: int) -> list[tuple[int, int]]:
    """Byte ranges of the validation part: the tail of each of `pieces` equal stretches of the text.

    Together they hold `fraction` of the bytes but at most `limit`. One piece is the usual tail
    split; more (char-rnn has one per stream) make validation like the training text throughout. A
    piece starts and a stretch ends at a line, or where lines are very long at a character, so that
    no character is cut in two.
    """
    whole = max(1, min(int(len(data) * fraction), limit))
    pieces = max(1, min(pieces, whole // PIECE_LEAST))
    stretch, held_back = len(data) // pieces, whole // pieces
    ends = [_line_start(data, stretch * piece, held_back) for piece in range(1, pieces)]
    ends.append(len(data))
    starts = [_line_start(data, end - held_back, held_back // 2) for end in ends]
    return [(start, end) for start, end in zip(starts, ends, strict=True) if start < end]


def _line_start(data: bytes, offset: int, reach: int) -> int:
    """The first line start at or after `offset`, or within reach of none the first character."""
    line_end = data.find(b"\n", offset - 1, offset + min(LINE_SEARCH, reach))
    if line_end >= 0:
        return line_end + 1
    while offset < len(data) - 1 and 0x80 <= data[offset] < 0xC0:  # inside a UTF-8 sequence
        offset += 1
    return offset


def _read_stdlib() -> Corpus:
    """Source of the standard library; where that is not installed, other source on sys.path."""
    root = Path(sysconfig.get_paths()["stdlib"])
    version = ".".join(map(str, sys.version_info[:3]))
    data = b"".join(_read_sources(root, EXCLUDED))
    if len(data) >= STDLIB_LEAST:
        return Corpus("stdlib", f"source of Python {version}'s standard library", data)
    parts: list[bytes] = []
    for entry in map(Path, sys.path):
        for source in _read_sources(entry, {"__pycache__"}):
            parts.append(source)
            if sum(map(len, parts)) > FALLBACK_MOST:
                break
    if not parts:
        raise ValueError("no Python source is installed here: name a text file instead of stdlib")
    return Corpus("stdlib", f"Python source on sys.path of Python {version}", b"".join(parts))


def _read_sources(root: Path, excluded: set[str]) -> Iterator[bytes]:
    """Python files under a folder, by relative path, each with a newline at its end."""
    paths = []
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if name not in excluded]
        paths += [Path(folder, file) for file in files if file.endswith(".py")]
    for path in sorted(paths, key=lambda path: path.relative_to(root).as_posix()):
        try:
            source = path.read_bytes()
        except OSError:  # a private or vanished file is no reason to fail
            continue
        yield source if source.endswith(b"\n") or not source else source + b"\n"
