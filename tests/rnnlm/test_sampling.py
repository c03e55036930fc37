"""Sampling and evaluation of a trained run, through the command."""

import itertools
import re
from dataclasses import fields

import pytest
import torch
from conftest import SENTENCE

from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.generation import generate_tokens
from fastlstm.rnnlm.model import make_model
from fastlstm.rnnlm.option import flag


@pytest.fixture
def model():
    return make_model(30, Config(hidden=16, layers=1), torch.device("cpu"))


def first(tokens, count=40):
    return list(itertools.islice(tokens, count))


def test_seed_decides_the_sample(model):
    samples = [first(generate_tokens(model, [1, 2], 0, 1.0, seed)) for seed in (5, 5, 6)]
    assert samples[0] == samples[1]
    assert samples[0] != samples[2]


def test_sampling_leaves_the_global_generator_alone(model):
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first(generate_tokens(model, [], 0, 1.0, 5))
    assert torch.equal(torch.rand(1), expected)


def test_temperature_0_takes_the_likeliest(model):
    sample = first(generate_tokens(model, [3], 0, 0.0, 1), 10)
    tokens = [0, 3, *sample]
    with torch.no_grad():
        logits, _ = model(torch.tensor(tokens)[:, None], model.initial_state(1))
    assert logits[1:-1, 0].argmax(1).tolist() == sample


@pytest.mark.parametrize("temperature", [1e-300, 1e-3])
def test_low_temperatures_come_near_it_without_overflow(model, temperature):
    expected = first(generate_tokens(model, [3], 0, 0.0, 1), 10)
    assert first(generate_tokens(model, [3], 0, temperature, 1), 10) == expected


def test_frequencies_are_the_models_probabilities(model):
    with torch.no_grad():
        model.decoder.weight.zero_()  # every token is then drawn alike
        model.decoder.bias.copy_(torch.linspace(-1, 1, 30))
    expected = torch.softmax(model.decoder.bias.detach() / 0.5, 0)
    draws = first(generate_tokens(model, [], 0, 0.5, 1), 2000)
    got = torch.bincount(torch.tensor(draws), minlength=30) / 2000
    assert float((got - expected).abs().max()) < 0.02


def test_sample_starts_with_the_prime(command, trained):
    arguments = ("sample", trained, "--prime", "the 我在", "--length", 30)
    code, out, _ = command(*arguments)
    assert code == 0
    assert out.startswith("the 我在")
    assert len(out) == len("the 我在") + 30 + 1
    assert command(*arguments)[1] == out
    assert command(*arguments, "--seed", 7)[1] != out
    assert command(*arguments, "--checkpoint", "last")[0] == 0


def test_eval_of_the_validation_part_is_the_best_of_training(command, trained):
    code, out, _ = command("eval", trained)
    assert code == 0
    log = (trained / "log.jsonl").read_text().splitlines()
    losses = [float(line.split('"loss": ')[1].split(",")[0]) for line in log if '"valid"' in line]
    assert f"{min(losses):.4f} nats" in out


def test_eval_of_a_text(command, trained, tmp_path):
    (tmp_path / "other.txt").write_text(SENTENCE + "é")
    code, out, _ = command("eval", trained, tmp_path / "other.txt")
    assert code == 0
    assert f"{len(SENTENCE) + 1} tokens" in out
    assert "lower bound: the spelling of 1 <unk> tokens is not counted" in out


def test_version(command):
    code, out, _ = command("--version")
    assert code == 0
    assert out.startswith("fastlstm ")


OPTIONS = {
    "train": [flag(option.name) for option in fields(Config) if option.name != "text"]
    + ["TEXT", "--out", "--verify", "--folds", "--stop-after"],
    "resume": ["RUN", "--steps", "--stop-after", "--device", "--threads"],
    "inspect": [
        "RUN", "VIEW", "--text", "--file", "--layer", "--unit", "--beside", "--out", "--font",
    ],
    "eval": [
        "RUN", "TEXT", "--part", "--checkpoint", "--device", "--threads", "--baselines", "--scores",
        "--context", "--dynamic", "--dynamic-rule", "--dynamic-decay", "--dynamic-segment",
        "--cache", "--cache-theta", "--cache-lambda", "--nbest", "--nbest-weight",
    ],
    "sample": [
        "RUN", "--prime", "--prime-file", "--length", "--temperature", "--top-k", "--top-p",
        "--beam", "--stop", "--samples", "--no-unknown", "--seed", "--checkpoint", "--device",
    ],
    "verify": ["--backend", "--quick"],
    "info": ["-h, --help"],
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_help_names_every_option(command, name):
    code, out, _ = command(name, "--help")
    assert code == 0
    assert out.startswith(f"usage: fastlstm {name} ")
    for option in OPTIONS[name]:
        assert re.search(rf"^  {option}\b", out, re.MULTILINE), option


def test_help_names_every_command(command):
    code, out, _ = command("--help")
    assert code == 0
    for name in OPTIONS:
        assert re.search(rf"^    {name} ", out, re.MULTILINE), name
