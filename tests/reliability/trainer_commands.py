"""Commands of the trainer in this process, on a small text, for the tests of its reliability."""

import contextlib
import io
import json
from pathlib import Path

import torch
from safetensors import safe_open

from fastlstm.cli import main

SENTENCE = "the quick brown fox jumps over the lazy dog . 我在 法国 长大 .\n"
SMALL = ["--hidden", "12", "--batch", "4", "--window", "10", "--threads", "1"]
SMALL += ["--level", "char", "--steps", "60", "--eval-every", "10", "--dropout", "0.3"]


def make_text(folder: Path, count: int = 60) -> Path:
    path = folder / "fox.txt"
    path.write_text(SENTENCE * count, encoding="utf-8")
    return path


def one_line(err: str) -> str:
    """What went wrong, said once and without a traceback."""
    assert err.startswith("fastlstm: error: "), err
    assert err.count("\n") == 1, err
    return err


def tensors_of(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(path, "pt") as file:
        tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
        return tensors, file.metadata()


def step_of(run: Path, name: str = "last") -> int:
    return int(tensors_of(run / f"{name}.safetensors")[1]["step"])


def assert_same_run(run: Path, whole: Path) -> None:
    """Bit for bit: both checkpoints and the log."""
    for name in ("best.safetensors", "last.safetensors"):
        (got, progress), (expected, wanted) = tensors_of(run / name), tensors_of(whole / name)
        assert got.keys() == expected.keys()
        assert [key for key in expected if not torch.equal(got[key], expected[key])] == []
        for values in (progress, wanted):
            del values["sha256"], values["run_id"]
            values["more"] = json.loads(values["more"]) | {"seconds": 0}
        assert progress == wanted
    assert (run / "log.jsonl").read_bytes() == (whole / "log.jsonl").read_bytes()
    assert sorted(p.name for p in run.iterdir()) == sorted(p.name for p in whole.iterdir())


def train_on_markup(folder: Path) -> Path:
    """A run on a text of markup, whose names are markup too."""
    text = "<script>alert('x')</script> & \"quoted\" <img src=x onerror=y> $\\frac{$ $x_ \x1b[31m\n"
    (folder / "<i>x&y.txt").write_text((text + SENTENCE) * 40, encoding="utf-8")
    options = [*SMALL, "--cache", folder / "cache", "--out", folder / "<b>run&"]
    with contextlib.redirect_stdout(io.StringIO()):
        words = ["train", folder / "<i>x&y.txt", *options]
        assert main([str(word) for word in words]) == 0
    return folder / "<b>run&"
