"""The training loop: exact resume, schedule, divergence, interruption."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from conftest import SMALL
from safetensors.torch import load_file, save_file

from fastlstm.rnnlm import checkpoint, session
from fastlstm.rnnlm.config import Config, make_config
from fastlstm.rnnlm.model import make_model
from fastlstm.rnnlm.runs import open_run
from fastlstm.rnnlm.schedule import LR_END, learning_rate


def logged(run: Path, kind: str) -> list[dict]:
    lines = (run / "log.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]


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


def test_ctrl_c_saves_and_says_how_to_go_on(command, text, tmp_path, monkeypatch):
    train_steps = session.train_steps

    def press_ctrl_c(training, *arguments):
        for log in train_steps(training, *arguments):
            if log.step == 30:
                os.kill(os.getpid(), signal.SIGINT)
            yield log

    monkeypatch.setattr(session, "train_steps", press_ctrl_c)
    run = tmp_path / "run"
    code, out, err = command("train", text, *SMALL, "--steps", 100, "--out", run)
    assert code == 130
    assert "stopped at step 30/100" in out
    assert f"fastlstm resume {run}" in out
    assert err == ""
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    monkeypatch.undo()
    assert command("resume", run)[0] == 0
    assert logged(run, "train")[-1]["step"] == 100


def test_divergence_is_told_and_keeps_the_last_good_checkpoint(command, text, tmp_path):
    run = tmp_path / "run"
    options = [*SMALL, "--optimizer", "sgd", "--clip", 1e30, "--lr", 1e38, "--lr-decay", "none"]
    code, _, err = command("train", text, *options, "--steps", 50, "--out", run)
    assert code == 2
    assert "diverged at step" in err
    assert f"{run} keeps the checkpoint of step 5" in err  # with the weights of step 0
    assert err.count("\n") == 1
    assert all(tensor.isfinite().all() for tensor in load_file(run / "last.safetensors").values())


@pytest.mark.parametrize("decay", ["cosine", "linear"])
def test_decay_goes_from_the_rate_to_one_percent(decay):
    config = Config(lr=0.5, lr_decay=decay)
    rates = [learning_rate(config, step, 1000) for step in range(1000)]
    assert rates[0] == pytest.approx(0.5)
    assert rates[500] == pytest.approx(0.5 * (1 + LR_END) / 2)
    assert rates[-1] == pytest.approx(0.5 * LR_END, rel=0.15)
    assert all(a > b for a, b in pairwise(rates))


def test_epochs_may_be_fractional():
    assert make_config({"epochs": 0.25}).total_steps(1000) == 250
    assert make_config({}).total_steps(1000) == 2000


def test_forget_gates_start_open_as_asked():
    model = make_model(9, Config(hidden=4, layers=2, forget_bias=1.5), torch.device("cpu"))
    for layer in range(2):
        bias_ih = getattr(model.rnn, f"bias_ih_l{layer}")
        bias_hh = getattr(model.rnn, f"bias_hh_l{layer}")
        assert torch.equal((bias_ih + bias_hh)[4:8], torch.full((4,), 1.5))


def test_seed_draws_the_same_weights_for_both_implementations():
    config = Config(hidden=8)
    ours = make_model(9, config, torch.device("cpu")).state_dict()
    theirs = make_model(9, replace(config, implementation="torch"), torch.device("cpu"))
    for name, weight in theirs.state_dict().items():
        assert torch.equal(weight, ours[name]), name


def test_memory_pays_on_france(command, tmp_path):
    """A short run on an easy version beats the bound that no memoryless model can."""
    run = tmp_path / "run"
    options = ["--france-docs", 4000, "--france-distance", 0.2, "--steps", 700, "--threads", 1]
    code, out, _ = command("train", "france", *options, "--hidden", 64, "--batch", 8, "--out", run)
    assert code == 0
    bound = float(out.split("memoryless bound")[1].split()[1])
    optimum = float(out.split("optimum")[1].split()[1])
    perplexity = float(out.split("model, step")[1].split()[2])
    assert optimum < perplexity < bound
    assert "lower bound" not in out


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
    tensors, progress = checkpoint._read_tensors(open_run(run), "last")
    del progress["more"]
    progress["sha256"] = checkpoint._digest(tensors, progress)
    save_file(tensors, run / "last.safetensors", progress)
    assert command("resume", run, "--steps", 30)[0] == 0
    assert command("sample", run, "--length", 5)[0] == 0
