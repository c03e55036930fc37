"""Rates, stalls, windows of drawn lengths, and the update they lead to, against plain numbers."""

import statistics
from dataclasses import replace

import pytest
import torch

from fastlstm.rnnlm.config import Config, make_config
from fastlstm.rnnlm.dataset import Streams
from fastlstm.rnnlm.gradients import compute_gradients
from fastlstm.rnnlm.model import make_model
from fastlstm.rnnlm.optimizers import clip_gradients, judged_weights
from fastlstm.rnnlm.schedule import learning_rate, window_length
from fastlstm.rnnlm.stalls import conclude
from fastlstm.rnnlm.training import next_window, start_training, train_step

SMALL = Config(hidden=6, layers=2, batch=4, window=10)
CPU = torch.device("cpu")


def start(config, vocabulary=9):
    return start_training(make_model(vocabulary, config, CPU), config)


def random_streams(config, windows=8, vocabulary=9):
    tokens = torch.arange(windows * config.batch * config.window) * 7 % vocabulary
    return Streams(tokens, 0, config.batch, config.window)


def test_rate_by_epochs_is_that_of_the_tensorflow_tutorial():
    """`lr_decay ** max(i + 1 - max_epoch, 0)` with lr_decay 0.5, max_epoch 4, i from 0."""
    config = Config(lr=1.0, lr_decay="epoch", lr_factor=0.5, lr_hold=4)
    rates = [learning_rate(config, 0, 1, epoch) for epoch in range(7)]
    assert rates == [1, 1, 1, 1, 0.5, 0.25, 0.125]


def test_warmup_rises_to_the_rate():
    config = Config(lr=1.0, lr_decay="none", warmup=4)
    assert [learning_rate(config, step, 9) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]


def scales(config, losses):
    training, seen = start(config), []
    for loss in losses:
        conclude(training, config, loss)
        seen.append(training.lr_scale)
    return seen, training


def test_stall_divides_the_rate():
    """word_language_model: lr /= 4 whenever validation is no better than the best."""
    config = replace(SMALL, lr_decay="stall", lr_factor=0.25)
    assert scales(config, [5.0, 4.0, 4.5, 4.0, 3.9])[0] == [1, 1, 0.25, 0.0625, 0.0625]
    patient = replace(config, patience=1)
    assert scales(patient, [5.0, 4.0, 4.5, 4.0, 3.9])[0] == [1, 1, 1, 0.25, 0.25]


def test_newbob_halves_from_the_first_stall_to_the_second():
    config = replace(SMALL, lr_decay="newbob", min_improvement=1.003)
    seen, training = scales(config, [8.0, 7.0, 6.99, 6.5])
    assert seen == [1, 1, 0.5, 0.25]
    assert not training.ended
    conclude(training, config, 6.49)
    assert "second time" in training.ended


def test_early_stop():
    config = replace(SMALL, early_stop=2)
    assert not scales(config, [3.0, 3.1, 2.9, 3.0])[1].ended
    assert "2 validations" in scales(config, [3.0, 3.1, 3.2])[1].ended


@pytest.mark.parametrize(
    ("losses", "begins"),
    [([5, 4, 3, 3.5], False), ([3, 4, 5, 6], True), ([3, 2.5, 2.9, 3.1], True), ([3], False)],
)
def test_averaging_begins_by_the_rule_of_awd_lstm(losses, begins):
    """`len(best) > nonmono and loss > min(best[:-nonmono])`, best the losses before."""
    config = replace(SMALL, optimizer="sgd", average="stall", nonmono=2)
    assert (scales(config, losses)[1].mean is not None) == begins
    assert (len(losses) - 1 > 2 and losses[-1] > min(losses[:-1][:-2])) == begins


def test_mean_is_the_mean_of_the_weights_after_each_step():
    config = replace(SMALL, optimizer="sgd", average="always", lr=0.5)
    training, streams, seen = start(config), random_streams(SMALL), []
    for _ in range(5):
        train_step(training, streams, config, 100)
        seen.append(training.model.rnn.weight_hh_l0.detach().double())
    own = training.model.rnn.weight_hh_l0.detach().clone()
    with judged_weights(training.model, training.mean):
        mean = torch.stack(seen).mean(0)
        torch.testing.assert_close(
            training.model.rnn.weight_hh_l0.double(), mean, atol=1e-7, rtol=0
        )
    assert torch.equal(training.model.rnn.weight_hh_l0, own)


def test_windows_of_awd_lstm():
    config = Config(window=70, windows="awd")
    lengths = [window_length(config, step) for step in range(4000)]
    assert 5 <= min(lengths) < max(lengths) <= 90
    assert statistics.mean(lengths) == pytest.approx(0.95 * 70 + 0.05 * 35 - 0.5, abs=0.5)
    assert sum(length < 52 for length in lengths) / 4000 == pytest.approx(0.05, abs=0.012)
    assert window_length(config, 7) == lengths[7] != window_length(replace(config, seed=1), 7)


def test_drawn_windows_read_the_text_in_order_and_scale_the_rate():
    config = make_config({"window": 20, "windows": "awd", "batch": 2, "hidden": 4, "epochs": 2})
    training, streams = start(config), random_streams(config)
    read = [next_window(training, streams, config)[0]]
    while training.epoch == 0:
        read.append(next_window(training, streams, config)[0])
        training.step += 1
    expected = streams.cut(0, streams.length)[0]
    assert torch.equal(torch.cat(read[:-1]), expected[: sum(map(len, read[:-1]))])
    assert len(expected) - sum(map(len, read[:-1])) < 5
    training = start(config)
    train_step(training, streams, config, 100)
    assert training.lr == pytest.approx(config.lr * window_length(config, 0) / 20)


@pytest.mark.parametrize("parts", [2, 3, 4])
def test_accumulated_gradient_is_that_of_the_whole_batch(parts):
    def gradients(config):
        training, streams = start(config), random_streams(config)
        inputs, targets = streams[1]
        loss, state = compute_gradients(training.model, inputs, targets, training.state)
        return [loss, *state, *(p.grad for p in training.model.parameters())]

    whole = gradients(SMALL)
    for got, expected in zip(gradients(replace(SMALL, accumulate=parts)), whole, strict=True):
        torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5)


def test_gradient_of_a_sum_is_the_window_times_that_of_a_mean():
    grads = []
    for loss in ("mean", "sum"):
        training, streams = start(replace(SMALL, loss=loss)), random_streams(SMALL)
        told, _ = compute_gradients(training.model, *streams[0], training.state)
        grads.append((told, training.model.decoder.weight.grad))
    assert grads[0][0] == grads[1][0]  # nats per token either way
    torch.testing.assert_close(grads[1][1], SMALL.window * grads[0][1])


def test_clipping_by_value_and_by_norm():
    model = make_model(9, SMALL, CPU)
    for clip_by in ("value", "norm"):
        for weight in model.parameters():
            weight.grad = torch.zeros_like(weight)
        model.decoder.bias.grad.copy_(torch.tensor([3.0, -4.0, 0.5] + [0.0] * 6))
        norm, clipped = clip_gradients(model, replace(SMALL, clip=1.0, clip_by=clip_by))
        assert float(norm) == pytest.approx(25.25**0.5)
        if clip_by == "value":
            assert model.decoder.bias.grad[:3].tolist() == [1.0, -1.0, 0.5]
            assert float(clipped) == pytest.approx(2 / model.parameter_count)
        else:
            assert float(model.decoder.bias.grad.norm()) == pytest.approx(1.0, rel=1e-5)
            assert float(clipped) == 1


def test_time_budget_ends_the_run_validated(command, text, tmp_path):
    run = tmp_path / "run"
    options = ["--hidden", 12, "--batch", 4, "--window", 10, "--threads", 1, "--steps", 10**7]
    code, out, _ = command("train", text, *options, "--time-budget", 0.02, "--out", run)
    assert code == 0
    assert "--time-budget 0.02 is used up" in out
    assert "best" in out
    assert "has ended" in command("resume", run)[1]
