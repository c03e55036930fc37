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


@pytest.mark.parametrize("command_name", ["resume", "sample"])
def test_checkpoint_of_another_run(fails, command, run, text, tmp_path, command_name):
    """Same options, same text: only the id tells them apart."""
    options = [*SMALL, "--level", "char", "--steps", 20, "--out", tmp_path / "other"]
    assert command("train", text, *options)[0] == 0
    for name in ("best", "last"):
        (run / f"{name}.safetensors").write_bytes(
            (tmp_path / "other" / f"{name}.safetensors").read_bytes()
        )
    assert "belongs to another run" in fails(command_name, run)


@pytest.mark.parametrize("at", [-1, -5000], ids=["last-byte", "in-the-middle"])
@pytest.mark.parametrize("command_name", ["resume", "sample"])
def test_flipped_bit(fails, run, command_name, at):
    path = run / "last.safetensors"
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    options = ["--checkpoint", "last"] if command_name == "sample" else []
    assert "last.safetensors is damaged" in fails(command_name, run, *options)


def edit_config(run: Path, **changes: object) -> None:
    values = json.loads((run / "config.json").read_text())
    values["config"] |= changes
    (run / "config.json").write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("command_name", "changes"),
    [
        ("resume", {"optimizer": "rmsprop"}),
        ("resume", {"optimizer": "sgd"}),
        ("resume", {"batch": 8}),
        ("resume", {"hidden": 13}),
        ("resume", {"layers": 1}),
        ("resume", {"cell": "gru"}),
        ("sample", {"hidden": 13}),
        ("sample", {"layers": 1}),
        ("eval", {"cell": "rnn"}),
    ],
    ids=str,
)
def test_config_that_the_checkpoint_contradicts(fails, run, command_name, changes):
    edit_config(run, **changes)
    assert "config.json and " in (err := fails(command_name, run))
    assert "disagree" in err


def test_damaged_log(command, run):
    with (run / "log.jsonl").open("ab") as log:
        log.write(b'7\n[]\n{}\n{"step": "9"}\n{"step": null}\n{"step": true}\n\xff\xfe\n')
    assert command("resume", run, "--steps", 30)[0] == 0
    steps = [json.loads(line)["step"] for line in (run / "log.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)
    assert steps[-1] == 30


@pytest.mark.parametrize("command_name", ["resume", "eval", "sample"])
def test_run_of_a_machine_with_cuda(fails, command, run, monkeypatch, command_name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    edit_config(run, device="cuda")
    assert "--device cpu" in fails(command_name, run)
    options = ["--steps", 22] if command_name == "resume" else []
    assert command(command_name, run, "--device", "cpu", "--threads", 1, *options)[0] == 0


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
