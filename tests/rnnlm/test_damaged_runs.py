"""A damaged run folder is refused in one line with exit code 2, and left as it is."""

import json
from pathlib import Path

import pytest
import torch
from conftest import SMALL
from safetensors import safe_open
from safetensors.torch import load_file, save_file


@pytest.mark.parametrize("command_name", ["resume", "eval", "sample"])
def test_run_is_missing(fails, tmp_path, command_name):
    assert "there is no run folder" in fails(command_name, tmp_path / "nowhere")


@pytest.mark.parametrize("command_name", ["resume", "eval", "sample"])
def test_run_is_no_run(fails, tmp_path, command_name):
    assert "is not a run folder" in fails(command_name, tmp_path)


@pytest.mark.parametrize("name", ["config.json", "vocabulary.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"config": {"hidden": 3}}', "\0"])
def test_damaged_json(fails, run, name, content):
    (run / name).write_text(content)
    assert f"{name} is damaged" in fails("sample", run)


@pytest.mark.parametrize("command_name", ["resume", "sample"])
@pytest.mark.parametrize("size", [0, 7, 100, 5000])
def test_truncated_checkpoint(fails, run, command_name, size):
    path = run / "last.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    options = ["--checkpoint", "last"] if command_name == "sample" else []
    assert "last.safetensors is damaged" in fails(command_name, run, *options)


def rewrite(path: Path, change) -> None:
    """Change a checkpoint's tensors, leaving the rest as it was."""
    with safe_open(path, "pt") as file:
        progress = file.metadata()
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, progress)


@pytest.mark.parametrize(
    "name",
    ["model.decoder.bias", "optimizer.0.exp_avg", "state.1", "rng.cpu"],
)
def test_checkpoint_lacks_a_tensor(fails, run, name):
    rewrite(run / "last.safetensors", lambda tensors: tensors.pop(name))
    assert "last.safetensors is damaged" in fails("resume", run)


@pytest.mark.parametrize(
    "name", ["model.rnn.weight_hh_l0", "optimizer.0.exp_avg", "state.0", "rng.cpu"]
)
def test_checkpoint_tensor_of_another_shape(fails, run, name):
    wrong = torch.zeros(3, dtype=torch.uint8 if name == "rng.cpu" else torch.float32)
    rewrite(run / "last.safetensors", lambda tensors: tensors.update({name: wrong}))
    assert "last.safetensors is damaged" in fails("resume", run)


def test_checkpoint_of_another_vocabulary(fails, run):
    values = json.loads((run / "vocabulary.json").read_text())
    values["characters"] = values["characters"][::-1]  # as many, in another order
    (run / "vocabulary.json").write_text(json.dumps(values))
    assert "another vocabulary" in fails("sample", run)


def test_checkpoint_is_missing(fails, run):
    (run / "best.safetensors").unlink()
    assert "no best checkpoint" in fails("sample", run)


@pytest.mark.parametrize("command_name", ["resume", "eval"])
def test_text_has_changed(fails, command, text, tmp_path, command_name):
    run = tmp_path / "run"
    command("train", text, *SMALL, "--steps", 20, "--stop-after", 10, "--out", run)
    text.write_text(text.read_text().replace("fox", "cat"))
    options = ["--checkpoint", "last"] if command_name == "eval" else []
    assert "has changed since" in fails(command_name, run, *options)
