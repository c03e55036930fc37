"""Standard output that is closed early, or cannot show every character: in a process of its own."""

import json
import os
import subprocess
import sys

from conftest import SMALL
from safetensors import safe_open

from fastlstm.rnnlm import session

COMMAND = [sys.executable, "-c", "import sys; from fastlstm.cli import main; sys.exit(main())"]


def step_of(path) -> int:
    with safe_open(path, "pt") as file:
        return int(file.metadata()["step"])


def test_closed_pipe_ends_a_run_quietly_and_saved(command, text, tmp_path):
    run = tmp_path / "run"
    options = [*SMALL, "--steps", "1000000", "--eval-every", "10", "--out", str(run)]
    process = subprocess.Popen(
        [*COMMAND, "train", str(text), *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if "step     10/" in line:
            break
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(60) == 0
    steps = [json.loads(line)["step"] for line in (run / "log.jsonl").read_text().splitlines()]
    assert step_of(run / "best.safetensors") <= step_of(run / "last.safetensors") == steps[-1]
    assert command("resume", run, "--stop-after", steps[-1] + 10)[0] == 0


def test_output_without_unicode(text, tmp_path):
    """A terminal that cannot show a character gets a question mark, not a traceback."""
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    options = [*SMALL, "--level", "char", "--steps", "2", "--out", str(tmp_path / "run")]
    done = subprocess.run(
        [*COMMAND, "train", str(text), *options], env=environment, capture_output=True, check=False
    )
    assert done.stderr == b""
    assert done.returncode == 0
    assert b"?? ??" in done.stdout


def test_crash_between_both_checkpoints_loses_neither(command, text, tmp_path, monkeypatch):
    def crash(run, training):
        raise KeyboardInterrupt

    run = tmp_path / "run"
    options = [*SMALL, "--steps", 100, "--eval-every", 10, "--out", run]
    monkeypatch.setattr(session, "save_best", crash)
    assert command("train", text, *options)[0] == 130
    monkeypatch.undo()
    assert step_of(run / "last.safetensors") == 10
    assert not (run / "best.safetensors").exists()
    assert command("resume", run, "--stop-after", 11)[0] == 0
    assert step_of(run / "best.safetensors") == 10
