"""Text files: plain, compressed (.gz, .zst), or with a text in a field of each line (.jsonl)."""

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

from fastlstm.rnnlm.cache import key_of, write_bytes_once, write_once
from fastlstm.rnnlm.chunks import FileBytes

BLOCK = 2**20  # bytes
PACKED_BLOCK = 2**16
PARTS = {  # what the name of a file in a folder says it is
    "train": "train",
    "training": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "test": "test",
}
RECORDS = {".jsonl", ".ndjson"}
COMPRESSED = {".gz", ".zst"}


def open_text(path: Path, field: str, cache: Path) -> FileBytes:
    """The text of a file; what is not plain is unpacked into the cache once.

    ValueError where there is no such file or nothing in it.
    """
    try:
        text = FileBytes(path)
        packing, kind = _kind(path)
        if packing or kind:
            key = key_of("text", text.sha256, packing, kind, field if kind else "")
            text = store_text(cache, key, lambda: _read_blocks(path, field))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from error
    if not len(text):
        raise ValueError(f"{path} is empty")
    return text


def read_text(path: Path, field: str = "text") -> bytes:
    """The bytes of a text file, in memory; ValueError where there is none or nothing in it."""
    if path.is_dir():
        raise ValueError(f"{path} is a directory, not a text file")
    try:
        data = b"".join(_read_blocks(path, field))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from error
    if not data:
        raise ValueError(f"{path} is empty")
    return data


def folder_parts(folder: Path) -> dict[str, Path]:
    """The files of a folder by part: train, valid, test; ValueError unless each is clear."""
    parts: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        words = path.name.lower().replace("-", ".").replace("_", ".").split(".")
        for part in {PARTS[word] for word in words if word in PARTS and path.is_file()}:
            if part in parts:
                raise ValueError(f"{folder} has two {part} files: {parts[part].name}, {path.name}")
            parts[part] = path
    if "train" not in parts:
        raise ValueError(f"{folder} is a directory without a train file, such as train.txt")
    return parts


def store_text(cache: Path, key: str, read: Callable[[], Iterator[bytes]]) -> FileBytes:
    """The text that `read` gives, kept in the cache under `key`, its sha256 beside it."""
    path, note = cache / f"{key}.txt", cache / f"{key}.sha256"

    def write_text(file: BinaryIO) -> None:
        digest = hashlib.sha256()
        for block in read():
            digest.update(block)
            file.write(block)
        value = digest.hexdigest()
        note.unlink(missing_ok=True)
        write_bytes_once(note, value.encode())

    write_once(path, write_text)
    return FileBytes(path, note.read_text())


def record_lines(records: Iterator[tuple[str, object]], field: str) -> Iterator[bytes]:
    """The text of each record, ended by a newline; ValueError, with where, for one without."""
    for where, record in records:
        text = record.get(field) if isinstance(record, dict) else None
        if not isinstance(text, str):
            have = ", ".join(map(str, record)) if isinstance(record, dict) else "no fields"
            raise ValueError(f"{where} has no text in the field {field!r} (--field); it has {have}")
        line = text.encode("utf-8", "replace")  # JSON may hold half a surrogate pair
        yield line if line.endswith(b"\n") else line + b"\n"


def _read_blocks(path: Path, field: str) -> Iterator[bytes]:
    """The bytes of the text in a file, in blocks that end anywhere."""
    packing, kind = _kind(path)
    unpack = {"": _blocks, ".gz": _unpack_gz, ".zst": _unpack_zst}[packing]
    with path.open("rb") as raw:
        if kind:
            yield from record_lines(_records(unpack(raw, path), path), field)
        else:
            yield from unpack(raw, path)


def _kind(path: Path) -> tuple[str, str]:
    """How a file is compressed and that it is made of records, by its name; "" where it is not."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packing = suffixes.pop() if suffixes and suffixes[-1] in COMPRESSED else ""
    return packing, "records" if suffixes and suffixes[-1] in RECORDS else ""


def _blocks(file: BinaryIO | gzip.GzipFile, path: Path) -> Iterator[bytes]:
    while block := file.read(BLOCK):
        yield block


def _unpack_gz(raw: BinaryIO, path: Path) -> Iterator[bytes]:
    try:
        with gzip.GzipFile(fileobj=raw) as file:
            yield from _blocks(file, path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def _unpack_zst(raw: BinaryIO, path: Path) -> Iterator[bytes]:
    zstandard = import_module("zstandard")
    frame = None
    try:
        while block := raw.read(PACKED_BLOCK):
            while block:
                frame = frame or zstandard.ZstdDecompressor().decompressobj()
                yield frame.decompress(block)
                block, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
    except zstandard.ZstdError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if frame is not None:
        raise ValueError(f"{path} is damaged: it ends within a frame")


def _records(blocks: Iterator[bytes], path: Path) -> Iterator[tuple[str, object]]:
    """Each line's JSON value, and where it stands; blank lines are passed over."""
    for number, line in enumerate(_lines(blocks), 1):
        if not line.strip():
            continue
        try:
            yield f"{path}, line {number}", json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}, line {number} is no JSON: {error}") from error


def _lines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Lines of a text that comes in blocks."""
    rest: list[bytes] = []
    for block in blocks:
        *whole, last = block.split(b"\n")
        for line in whole:
            yield b"".join([*rest, line])
            rest = []
        rest.append(last)
    yield b"".join(rest)
