"""Files and folders that no crash spoils, and a folder that only one process trains in."""

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

LEFT_OVER = re.compile(r"\..+\.\d+")  # the name of a file that a crash kept from its place


def write_atomically(path: Path, data: bytes) -> None:
    """Write beside the file, then move into its place: a crash leaves the old or the new one.

    RuntimeError where there is no room for it, or no right to write it.
    """
    beside = beside_of(path)
    try:
        beside.unlink(missing_ok=True)
        with beside.open("xb") as file:  # x: through no link that somebody laid there
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        _sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise RuntimeError(f"cannot write {path}: {error.strerror}") from error


def write_json(path: Path, values: Any) -> None:
    """Write a JSON file, whole or not at all."""
    write_atomically(path, (json.dumps(values, ensure_ascii=False, indent=1) + "\n").encode())


def append_line(path: Path, values: Mapping[str, Any]) -> None:
    """Add one line of JSON to a file; RuntimeError where that cannot be."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")
    except OSError as error:
        raise RuntimeError(f"cannot write {path}: {error.strerror}") from error


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The records of such a file that have a step: not what a crash cut short or a fault spoilt."""
    if not path.exists():
        return []
    records = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and type(record.get("step")) is int:
            records.append(record)
    return records


def cut_lines(path: Path, step: int) -> None:
    """Drop the records of such a file that are of a later step."""
    lines = [json.dumps(record) + "\n" for record in read_lines(path) if record["step"] <= step]
    if lines or path.exists():
        write_atomically(path, "".join(lines).encode())


def beside_of(path: Path) -> Path:
    """Where this process makes what is to be moved to `path`."""
    return path.with_name(f".{path.name}.{os.getpid()}")


def remove_left_overs(folder: Path) -> None:
    """Remove what crashes kept from its place, in a folder that no other process writes to."""
    for path in folder.iterdir():
        if LEFT_OVER.fullmatch(path.name) and (path.is_symlink() or path.is_file()):
            path.unlink(missing_ok=True)


@contextmanager
def only_process(folder: Path) -> Iterator[None]:
    """Within it no other process that asks for the folder gets it: that one has a ValueError.

    The lock goes with the process, however it ends. A file system that knows no locks has none.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another process is training {folder}") from None
        except OSError:
            pass
        yield
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    """Have the names in a folder outlast a power cut, where the file system can."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)
