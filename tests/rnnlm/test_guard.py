"""Windows that would spoil the weights: skipped, named, and gone back from."""

import json

import pytest
import torch
from conftest import SMALL
from safetensors.torch import load_file

from fastlstm.rnnlm import training
from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.dataset import Streams
from fastlstm.rnnlm.guard import Skip, keep_good, worst_stream
from fastlstm.rnnlm.model import make_model
from fastlstm.rnnlm.schedule import learning_rate
from fastlstm.rnnlm.training import start_training, train_step


def spoil(monkeypatch, steps, factor):
    """Makes the losses of some steps, counted from 0, and their gradients, wrong by a factor."""
    compute, at = training.compute_gradients, iter(range(10**9))

    def faulty(model, *window):
        loss, state = compute(model, *window)
        if next(at) in steps:
            for weight in model.parameters():
                weight.grad.mul_(factor)
            loss = loss * factor
        return loss, state

    monkeypatch.setattr(training, "compute_gradients", faulty)


@pytest.mark.parametrize("factor", [float("nan"), float("inf"), 100.0])
def test_bad_window_is_skipped_and_named(command, text, tmp_path, monkeypatch, factor):
    run = tmp_path / "run"
    spoil(monkeypatch, {7}, factor)
    code, out, _ = command("train", text, *SMALL, "--steps", 20, "--level", "char", "--out", run)
    assert code == 0
    assert out.count("skipped: loss") == 1
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    (skip,) = [record for record in records if record["kind"] == "skip"]
    assert skip["step"] == 8
    assert skip["returned"] is None
    assert skip["text"] in "\n" + text.read_text()
    assert sum(record.get("skips", 0) for record in records) == 1
    assert all(weight.isfinite().all() for weight in load_file(run / "last.safetensors").values())


def test_three_in_a_row_bring_the_last_good_weights_back(command, text, tmp_path, monkeypatch):
    run = tmp_path / "run"
    spoil(monkeypatch, {12, 13, 14}, float("nan"))
    options = ["--steps", 20, "--eval-every", 10, "--lr-decay", "none"]
    code, out, _ = command("train", text, *SMALL, *options, "--out", run)
    assert code == 0
    assert "back to the weights of step 10, at half the rate" in out
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    rates = [record["lr"] for record in records if record["kind"] == "train"]
    assert rates == [0.01, 0.005]


def test_skipping_resumes_bit_equal(command, text, tmp_path, monkeypatch):
    """Stopped between a validation, whose weights come back, and the bad windows."""
    options = [*SMALL, "--steps", 30, "--eval-every", 10]
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    spoil(monkeypatch, {16, 17, 18}, float("nan"))
    assert command("train", text, *options, "--out", whole)[0] == 0
    monkeypatch.undo()
    assert command("train", text, *options, "--out", halves, "--stop-after", 15)[0] == 0
    spoil(monkeypatch, {1, 2, 3}, float("nan"))
    assert command("resume", halves)[0] == 0
    expected, got = (load_file(run / "last.safetensors") for run in (whole, halves))
    assert all(torch.equal(expected[key], got[key]) for key in expected)


def test_skipped_window_leaves_weights_and_counts_its_tokens():
    config = Config(hidden=6, batch=4, window=10, spike=1e-3)
    tokens = torch.arange(400) % 9
    streams = Streams(tokens, 0, 4, 10)
    run = start_training(make_model(9, config, torch.device("cpu")), config)
    before = [weight.clone() for weight in run.model.parameters()]
    for step in (1, 2):
        skip = train_step(run, streams, config, 100)
        assert isinstance(skip, Skip)
        assert (skip.step, skip.begin) == (step, skip.stream * 100 + 10 * (step - 1))
        assert skip.tokens == [0, *tokens.tolist()][skip.begin : skip.begin + 10]
        assert "above --spike 0.001" in skip.reason
    assert all(torch.equal(a, b) for a, b in zip(before, run.model.parameters(), strict=True))
    assert not any(part.any() for part in run.state)


def test_third_in_a_row_brings_back_good_weights_at_half_the_rate():
    config = Config(hidden=6, batch=4, window=10)
    streams = Streams(torch.arange(400) % 9, 0, 4, 10)
    run = start_training(make_model(9, config, torch.device("cpu")), config)
    train_step(run, streams, config, 100)
    keep_good(run)
    good = [weight.clone() for weight in run.model.parameters()]
    with torch.no_grad():
        for weight in run.model.parameters():
            weight.fill_(float("nan"))
    skips = [train_step(run, streams, config, 100) for _ in range(3)]
    assert [skip.returned for skip in skips] == [None, None, 1]
    assert all(torch.equal(a, b) for a, b in zip(good, run.model.parameters(), strict=True))
    loss, *_ = train_step(run, streams, config, 100)
    assert loss < 3
    assert run.lr == pytest.approx(learning_rate(config, 4, 100) / 2)


def test_worst_stream_is_that_of_the_largest_loss():
    model = make_model(9, Config(hidden=6, batch=4), torch.device("cpu"))
    with torch.no_grad():
        model.decoder.bias[5] = -30
    inputs = torch.zeros(10, 4, dtype=torch.int64)
    targets = torch.zeros(10, 4, dtype=torch.int64)
    targets[3, 2] = 5
    assert worst_stream(model, inputs, targets.reshape(-1), model.initial_state(4)) == 2
