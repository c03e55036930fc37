"""The folder of what is prepared once: every file is named by what it was made of.

A file is written beside its place, by one process at a time, and moved into it when it is whole; so
a crash leaves nothing half-written, and two processes that want the same file make it once.
"""

import atexit
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import BinaryIO


def cache_folder(name: str | None) -> Path:
    """The folder `name`, or else $FASTLSTM_CACHE, or else ~/.cache/fastlstm; made if missing.

    RuntimeError where a folder that was asked for cannot be written to. Where the usual one cannot
    (a container without a home), it is a temporary one that goes when the process ends.
    """
    given = name or os.environ.get("FASTLSTM_CACHE")
    if given:
        folder = Path(given)
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser(), "fastlstm")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK | os.X_OK)
        reason = "not writable"
    except OSError as error:
        writable, reason = False, error.strerror or str(error)
    if writable:
        return folder
    if given:
        raise RuntimeError(f"cannot use the cache folder {folder}: {reason}; --cache names another")
    return _temporary_folder()


def key_of(*parts: object) -> str:
    """A file name that stands for these JSON values and no others."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def hash_file(path: Path) -> str:
    """Sha256 of a file, in flat memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_once(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Have `write` make the file `path`, unless it is there or another process has just made it.

    RuntimeError where there is no room for it.
    """
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    while not path.exists():
        with os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # waits for whoever is writing it
            if not _is_file(part, file):
                continue
            try:
                file.truncate(0)  # a crash may have left some
                write(file)
                file.flush()
                os.fsync(file.fileno())
            except BaseException as error:
                part.unlink()
                if isinstance(error, OSError):
                    raise RuntimeError(f"cannot write {path}: {error.strerror}") from error
                raise
            part.replace(path)


def write_bytes_once(path: Path, content: bytes) -> None:
    """The same for a small file."""

    def write(file: BinaryIO) -> None:
        file.write(content)

    write_once(path, write)


def _is_file(path: Path, file: BinaryIO) -> bool:
    """Whether `path` still is the open file: its writer may have moved or removed it."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


@cache
def _temporary_folder() -> Path:
    folder = tempfile.mkdtemp(prefix="fastlstm-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
