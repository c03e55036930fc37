"""The source of Python's standard library: a text that is wherever the trainer is."""

import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

# directories of tests, and of packages that are installed beside the standard library
EXCLUDED = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
STDLIB_LEAST = 1_000_000  # bytes: less than this is no standard library but a stripped remnant
FALLBACK_MOST = 16_000_000  # bytes: whatever else lies on sys.path may be far too much


def read_stdlib() -> tuple[str, bytes]:
    """What it is, and its bytes; where it is not installed, other source on sys.path."""
    root = Path(sysconfig.get_paths()["stdlib"])
    version = ".".join(map(str, sys.version_info[:3]))
    data = b"".join(_read_sources(root, EXCLUDED))
    if len(data) >= STDLIB_LEAST:
        return f"source of Python {version}'s standard library", data
    parts: list[bytes] = []
    for entry in map(Path, sys.path):
        for source in _read_sources(entry, {"__pycache__"}):
            parts.append(source)
            if sum(map(len, parts)) > FALLBACK_MOST:
                break
    if not parts:
        raise ValueError("no Python source is installed here: name a text file instead of stdlib")
    return f"Python source on sys.path of Python {version}", b"".join(parts)


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
