"""The training loop: schedule, divergence, interruption."""

import os
import signal
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from conftest import SMALL, logged
from safetensors.torch import load_file

from fastlstm.rnnlm import session
from fastlstm.rnnlm.config import Config, make_config
from fastlstm.rnnlm.model import make_model
from fastlstm.rnnlm.schedule import LR_END, learning_rate


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
