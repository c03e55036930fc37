"""A small text, and a run trained on it, shared by the tests of the trainer."""

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from shell import run_command

from fastlstm.cli import main

SENTENCE = "the quick brown fox jumps over the lazy dog . 我在 法国 长大 .\n"
SMALL = ["--hidden", "12", "--batch", "4", "--window", "10", "--threads", "1"]


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the tests' texts are prepared."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTLSTM_CACHE", str(folder))
        yield folder


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "fox.txt"
    path.write_text(SENTENCE * 60, encoding="utf-8")
    return path


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command as a shell would: exit code, standard output, standard error."""

    return partial(run_command, capsys)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run at the char level; copy it before changing it."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "fox.txt").write_text(SENTENCE * 60, encoding="utf-8")
    arguments = ["--level", "char", "--steps", "20", "--out", str(folder / "run")]
    assert main(["train", str(folder / "fox.txt"), *SMALL, *arguments]) == 0
    return folder / "run"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained run, to be damaged."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def fails(command, tmp_path):
    """Asserts that a command fails as it should; returns its one line."""

    def run(*arguments: object) -> str:
        before = snapshot(tmp_path)
        code, _, err = command(*arguments)
        assert code == 2
        assert err.count("\n") == 1, err
        assert "Traceback" not in err
        assert snapshot(tmp_path) == before
        return str(err)

    return run


def logged(run: Path, kind: str) -> list[dict]:
    lines = (run / "log.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]
