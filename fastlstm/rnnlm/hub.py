"""Data sets by the library `datasets`: from the Hugging Face hub, or from a folder here."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastlstm.rnnlm.cache import hash_file, key_of
from fastlstm.rnnlm.chunks import FileBytes
from fastlstm.rnnlm.files import record_lines, store_text

SPLITS = {"train": "train", "validation": "valid", "test": "test"}


def hub_parts(name: str, field: str, cache: Path) -> dict[str, FileBytes]:
    """The texts of a data set, NAME or NAME:CONFIG, by part; kept in the cache.

    ValueError where there is none, or no text in it; RuntimeError without the library.
    """
    try:
        import datasets
    except ModuleNotFoundError as error:
        if error.name != "datasets":
            raise
        raise RuntimeError("hf: needs the library datasets: pip install datasets") from error
    path, _, config = name.partition(":")
    try:
        loaded = datasets.load_dataset(path, config or None)
    except Exception as error:  # any of many: no network, no such name, damaged data
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"cannot load the data set {name}: {reason}") from error
    parts = {part: loaded[split] for split, part in SPLITS.items() if split in loaded}
    if "train" not in parts:
        raise ValueError(f"the data set {name} has no part train; it has {', '.join(loaded)}")
    return {part: _store(f"{name}, {part}", rows, field, cache) for part, rows in parts.items()}


def _store(origin: str, rows: Any, field: str, cache: Path) -> FileBytes:
    """The text of a part. What it is made of are the library's own files."""
    sources = [hash_file(Path(file["filename"])) for file in rows.cache_files]
    key = key_of("hub", sources, len(rows), field)
    text = store_text(cache, key, lambda: record_lines(_records(origin, rows), field))
    if not len(text):
        raise ValueError(f"{origin} is empty")
    return text


def _records(origin: str, rows: Any) -> Iterator[tuple[str, object]]:
    for number, row in enumerate(rows):
        yield f"{origin}, row {number}", row
