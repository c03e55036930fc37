"""Resume: bit-exact with every option and after SIGKILL, and of runs of older versions."""

import json
import signal
import subprocess
import sys
import time

import pytest
import torch
from conftest import SMALL, logged
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fastlstm.rnnlm.saved import digest_of

AWD = (
    "--optimizer sgd --lr 2 --windows awd --weight-drop 0.3 --locked-dropout --tied --embedding 8 "
    "--dropout-embedding 0.1 --average stall --nonmono 0 --weight-decay 1e-4 --eval-every 10 "
    "--activation-penalty 2 --slowness-penalty 1"
)


@pytest.mark.parametrize(
    "how",
    [
        "--cell lstm --optimizer adam",
        "--cell gru --optimizer rmsprop --clip-by value --clip 0.1 --loss sum",
        "--cell rnn --optimizer sgd",
        "--optimizer adamw --weight-decay 0.1 --accumulate 3 --lr-decay stall --eval-every 20",
        "--zoneout 0.1 --recurrent-dropout 0.2 --average always --softmax adaptive",
        "--precision bf16 --reset-at \\n --lr-decay epoch --warmup 120",
        AWD,
    ],
)
def test_resumed_run_is_bit_equal_to_an_unbroken_one(command, text, tmp_path, how):
    """200 steps against 100 + 100, over several epochs, with dropout."""
    options = [*SMALL, "--steps", 200, "--level", "char", "--eval-every", 60]
    options += ["--dropout", 0.3, "--dropout-output", 0.2, *how.split()]
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert command("train", text, *options, "--out", whole)[0] == 0
    code, out, _ = command("train", text, *options, "--out", halves, "--stop-after", 100)
    assert code == 0
    assert f"fastlstm resume {halves}" in out
    torch.manual_seed(99)  # whatever happened in between
    assert command("resume", halves)[0] == 0
    for name in ("best.safetensors", "last.safetensors"):
        expected, got = load_file(whole / name), load_file(halves / name)
        assert expected.keys() == got.keys()
        for key in expected:
            assert torch.equal(expected[key], got[key]), (name, key)
    assert logged(whole, "valid") == logged(halves, "valid")
    losses = [[record["loss"] for record in logged(run, "train")] for run in (whole, halves)]
    assert losses[0] == losses[1]


def test_resume_drops_what_was_logged_after_the_checkpoint(command, text, tmp_path):
    run = tmp_path / "run"
    command("train", text, *SMALL, "--steps", 40, "--out", run, "--stop-after", 20)
    with (run / "log.jsonl").open("a") as log:
        log.write('{"kind": "train", "step": 30, "loss": 0.0}\n{"kind": "tra')
    assert command("resume", run)[0] == 0
    assert [record["step"] for record in logged(run, "train")][-1] == 40
    assert all(record["loss"] > 0 for record in logged(run, "train"))


def test_resume_of_a_finished_run_goes_on_when_asked(command, run):
    code, out, _ = command("resume", run)
    assert code == 0
    assert "has done its 20 steps" in out
    assert command("resume", run, "--steps", 30)[0] == 0
    assert logged(run, "train")[-1]["step"] == 30
    assert json.loads((run / "config.json").read_text())["config"]["steps"] == 30


def test_run_killed_without_warning_resumes_bit_equal(command, text, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    options = [*SMALL, "--steps", 400, "--eval-every", 20, "--dropout", 0.3]
    assert command("train", text, *options, "--out", whole)[0] == 0
    code = "import sys; from fastlstm.cli import main; main(sys.argv[1:])"
    program = [sys.executable, "-c", code, "train", text, *options, "--out", killed]
    child = subprocess.Popen([str(word) for word in program], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (killed / "best.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    child.kill()
    assert child.wait() == -signal.SIGKILL
    assert command("resume", killed)[0] == 0
    expected, got = (load_file(run / "last.safetensors") for run in (whole, killed))
    assert all(torch.equal(expected[key], got[key]) for key in expected)
    assert logged(whole, "valid") == logged(killed, "valid")


def test_run_of_a_version_before_these_options_loads(command, run):
    """What the first version wrote: fewer options, and no progress but the step."""
    values = json.loads((run / "config.json").read_text())
    old = [
        "text",
        "level",
        "vocab_size",
        "valid_fraction",
        "valid_limit",
        "valid_pieces",
        "france_docs",
        "france_distance",
        "cell",
        "hidden",
        "layers",
        "embedding",
        "dropout",
        "dropout_input",
        "dropout_output",
        "forget_bias",
        "implementation",
        "backend",
        "batch",
        "window",
        "steps",
        "epochs",
        "optimizer",
        "lr",
        "lr_decay",
        "clip",
        "eval_every",
        "seed",
        "threads",
        "device",
    ]
    values["config"] = {name: values["config"][name] for name in old}
    (run / "config.json").write_text(json.dumps(values))
    tensors = load_file(run / "last.safetensors")
    with safe_open(run / "last.safetensors", "pt") as file:
        progress = file.metadata()
    del progress["more"], progress["sha256"]
    progress["sha256"] = digest_of(tensors, progress)
    save_file(tensors, run / "last.safetensors", progress)
    assert command("resume", run, "--steps", 30)[0] == 0
    assert command("sample", run, "--length", 5)[0] == 0
