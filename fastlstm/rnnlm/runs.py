"""The run folder: what is in it, and how it is written so that no crash spoils it.

    config.json         the Config, the corpus's fingerprint, and the run's own id
    vocabulary.json
    log.jsonl           one line per report of training and per validation
    best.safetensors    weights of the best validation loss
    last.safetensors    weights, optimizer, carried state, RNG: what resume needs

Nothing is pickled. Every file is written beside its place and then moved into it; only the log is
appended to, and a line torn by a crash is dropped when the run is resumed.
"""

import hashlib
import json
import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.vocabularies import vocabulary_from_json
from fastlstm.rnnlm.vocabulary import Vocabulary


@dataclass(frozen=True)
class Run:
    """A run folder and what its two JSON files say.

    sha256: of the corpus.
    id: drawn when the run is made; each checkpoint carries it, and fits no other run.
    """

    path: Path
    config: Config
    vocabulary: Vocabulary
    sha256: str
    id: str

    @property
    def fingerprint(self) -> str:
        """Sha256 of the vocabulary, which each checkpoint carries: weights fit no other one."""
        return hashlib.sha256(json.dumps(self.vocabulary.to_json()).encode()).hexdigest()


def check_unused(path: Path) -> None:
    """ValueError where something is at `path` already, or no folder can be made there."""
    if path.exists():
        raise ValueError(f"{path} exists already; nothing was changed")
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not parent.is_dir():
        raise ValueError(f"cannot make the run folder {path}: {parent} is not a directory")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ValueError(f"cannot make the run folder {path}: {parent} is not writable")


def create_run(path: Path, config: Config, vocabulary: Vocabulary, sha256: str) -> Run:
    """Make a new run folder; ValueError where something is there already."""
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        raise ValueError(f"{path} exists already; nothing was changed") from None
    except OSError as error:
        raise ValueError(f"cannot make the run folder {path}: {error.strerror}") from error
    run = Run(path, config, vocabulary, sha256, uuid.uuid4().hex)
    save_config(run)
    write_json(path / "vocabulary.json", vocabulary.to_json())
    return run


def save_config(run: Run) -> None:
    """Write config.json."""
    values = {"config": run.config.to_json(), "corpus_sha256": run.sha256, "run_id": run.id}
    write_json(run.path / "config.json", values)


def open_run(path: Path) -> Run:
    """Read a run folder; ValueError where it is none or is damaged."""
    if not path.is_dir():
        raise ValueError(f"there is no run folder {path}")
    if not (path / "config.json").exists():
        raise ValueError(f"{path} is not a run folder: it has no config.json")
    saved = _read_json(path / "config.json")
    try:
        config = Config.from_json(saved["config"])
        sha256, run_id = str(saved["corpus_sha256"]), str(saved["run_id"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path / 'config.json'} is damaged: {error}") from error
    try:
        vocabulary = vocabulary_from_json(_read_json(path / "vocabulary.json"))
    except ValueError as error:
        raise ValueError(f"{path / 'vocabulary.json'} is damaged: {error}") from error
    return Run(path, config, vocabulary, sha256, run_id)


def unused_path(corpus: str) -> Path:
    """A new folder name for a run on `corpus` under runs/, by the time of day."""
    stem = f"{corpus}-{time.strftime('%Y%m%d-%H%M%S')}"
    path, copy = Path("runs", stem), 2
    while path.exists():
        path, copy = Path("runs", f"{stem}-{copy}"), copy + 1
    return path


def append_log(run: Run, values: Mapping[str, Any]) -> None:
    """Add one line to log.jsonl."""
    with (run.path / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")


def read_log(run: Run) -> list[dict[str, Any]]:
    """The records of log.jsonl, without those that a crash cut short or a fault spoilt."""
    path = run.path / "log.jsonl"
    if not path.exists():
        return []
    records = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and type(record.get("step")) is int:
            records.append(record)
    return records


def cut_log(run: Run, step: int) -> None:
    """Drop what was logged after `step`: a resumed run will log it again."""
    lines = [json.dumps(record) for record in read_log(run) if record["step"] <= step]
    write_atomically(run.path / "log.jsonl", "".join(line + "\n" for line in lines).encode())


def write_json(path: Path, values: Any) -> None:
    """Write a JSON file, whole or not at all."""
    write_atomically(path, (json.dumps(values, ensure_ascii=False, indent=1) + "\n").encode())


def write_atomically(path: Path, data: bytes) -> None:
    """Write beside the file, then move into its place: a crash leaves the old or the new one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise RuntimeError(f"cannot write {path}: {error.strerror}") from error


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
