"""The run folder: what is in it, and how it is written so that no crash spoils it.

    config.json         the Config, the corpus's fingerprint, and the run's own id
    vocabulary.json
    log.jsonl           one line per report of training and per validation; the same command
                        writes the same bytes, in any number of threads
    speed.jsonl         tokens per second of each report, which are never the same
    best.safetensors    weights of the best validation loss
    last.safetensors    weights, optimizer, carried state, RNG: what resume needs

Nothing is pickled. Every file is written beside its place and then moved into it; only logs are
appended to, and a line torn by a crash is dropped when the run is resumed. A new folder is made
beside its place too.
"""

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.durable import (
    append_line,
    beside_of,
    cut_lines,
    read_lines,
    remove_left_overs,
    write_json,
)
from fastlstm.rnnlm.vocabularies import vocabulary_from_json
from fastlstm.rnnlm.vocabulary import Vocabulary

LOG, SPEED = "log.jsonl", "speed.jsonl"


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
    beside = beside_of(path.absolute())
    run = Run(beside, config, vocabulary, sha256, uuid.uuid4().hex)
    shutil.rmtree(beside, ignore_errors=True)  # of a process that had our number, and crashed
    try:
        beside.mkdir(parents=True)
        save_config(run)
        write_json(beside / "vocabulary.json", vocabulary.to_json())
        if path.exists():  # moving would replace an empty folder
            raise FileExistsError
        beside.rename(path)
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        if path.exists():
            raise ValueError(f"{path} exists already; nothing was changed") from None
        raise ValueError(f"cannot make the run folder {path}: {error.strerror}") from error
    except RuntimeError:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return replace(run, path=path)


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


def never_saved(run: Run) -> bool:
    """Whether a run was ended before its first checkpoint: it has learnt nothing yet."""
    names = ("last.safetensors", "best.safetensors", LOG)
    return not any((run.path / name).exists() for name in names)


def unused_path(corpus: str) -> Path:
    """A new folder name for a run on `corpus` under runs/, by the time of day."""
    stem = f"{corpus}-{time.strftime('%Y%m%d-%H%M%S')}"
    path, copy = Path("runs", stem), 2
    while path.exists():
        path, copy = Path("runs", f"{stem}-{copy}"), copy + 1
    return path


def append_log(run: Run, values: Mapping[str, Any]) -> None:
    """Add one line to log.jsonl."""
    append_line(run.path / LOG, values)


def append_speed(run: Run, step: int, tokens_per_second: float) -> None:
    """Add one line to speed.jsonl."""
    append_line(run.path / SPEED, {"step": step, "tokens_per_second": tokens_per_second})


def read_log(run: Run) -> list[dict[str, Any]]:
    """The records of log.jsonl, without those that a crash cut short or a fault spoilt."""
    return read_lines(run.path / LOG)


def cut_log(run: Run, step: int) -> None:
    """Drop what was written after the checkpoint of `step`: a resumed run will write it again."""
    remove_left_overs(run.path)
    for name in (LOG, SPEED):
        cut_lines(run.path / name, step)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
