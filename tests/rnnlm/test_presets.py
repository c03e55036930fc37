"""Presets: published options and figures, the verdict, and old names of options."""

import json
from dataclasses import asdict

import pytest
from conftest import SMALL

from fastlstm.rnnlm.aliases import in_todays_words
from fastlstm.rnnlm.config import make_config
from fastlstm.rnnlm.preset import Preset
from fastlstm.rnnlm.presets import PRESETS

TINY = ["--hidden", 12, "--layers", 1, "--batch", 4, "--window", 10, "--level", "char"]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_config_and_says_what_it_is_on(name):
    config = make_config({"preset": name, "text": "x"})
    preset = PRESETS[name]
    assert {key: asdict(config)[key] for key in preset.options} == preset.options
    assert config.steps is None
    assert preset.corpus
    assert preset.where
    assert preset.published is None or preset.published > 0


def test_options_beside_a_preset_take_its_place():
    config = make_config({"preset": "zaremba-small", "text": "x", "steps": 7, "hidden": 5})
    assert (config.steps, config.epochs, config.hidden, config.lr) == (7, None, 5, 1.0)


def test_what_counts_as_reached():
    preset = Preset("", {}, "c", "w", "s", 100.0, tolerance=0.02)
    assert preset.reached(4.6)  # 99.5
    assert preset.reached(4.624)  # 101.9
    assert not preset.reached(4.626)  # 102.1
    assert Preset("", {}, "c", "w", "s", 1.4, "nats", tolerance=0.1).reached(1.5)
    assert Preset("", {}, "c", "w", "s", None).reached(1.0) is None


def test_preset_without_its_text_says_where_that_is(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (["train", "--preset", "awd-lstm"], ["verify", "awd-lstm"]):
        code, out, err = command(*words)
        assert code == 2
        assert "published: valid perplexity 61.2" in out
        assert "simple-examples.tgz" in out
        assert "needs its text" in err
    assert not list(tmp_path.iterdir())


def test_verify_says_missed_and_why(command, text, tmp_path):
    words = ["verify", "char-rnn", text, "--threads", 1, "--epochs", 1, "--out", tmp_path / "run"]
    text.write_text(text.read_text(encoding="utf-8") * 3, encoding="utf-8")
    code, out, _ = command(*words)
    assert code == 1
    assert "published: valid nats 1.395" in out
    assert "time    about" in out
    assert "missed  valid nats" in out
    assert "may be why: not the preset's own: --epochs" in out
    config = json.loads((tmp_path / "run" / "config.json").read_text())["config"]
    assert (config["preset"], config["optimizer"], config["lr"]) == ("char-rnn", "rmsprop", 2e-3)


def test_train_with_a_preset_reaches_it_on_an_easy_text(command, text, tmp_path):
    words = ["train", text, "--preset", "char-rnn", *TINY, "--steps", 300, "--lr", 0.02]
    code, out, _ = command(*words, "--threads", 1, "--out", tmp_path / "run")
    assert code == 0
    assert "reached  valid nats" in out


def test_preset_does_not_change_the_numbers(command, text, tmp_path):
    """The steps that measure time leave weights and random numbers as they were."""
    own = ["--optimizer", "sgd", "--lr", 1, "--dropout", 0.2, "--steps", 20, *SMALL, "--seed", 3]
    options = PRESETS["word-language-model-6"].options
    assert options["dropout"] == 0.2
    same = []
    for key, value in options.items():
        if key not in ("epochs", "hidden", "batch", "window", "lr", "optimizer", "dropout"):
            same += [f"--{key.replace('_', '-')}", value]
    runs = [tmp_path / "preset", tmp_path / "plain"]
    preset = ["--preset", "word-language-model-6"]
    assert command("train", text, *preset, *own, "--out", runs[0])[0] == 0
    assert command("train", text, *same, *own, "--out", runs[1])[0] == 0
    logs = [[json.loads(x) for x in (r / "log.jsonl").read_text().splitlines()] for r in runs]
    losses = [[record["loss"] for record in log] for log in logs]
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("train -rnn_size 128 -num_layers 2", "train --hidden 128 --layers 2"),
        ("train --rnn-size=128", "train --hidden=128"),
        ("train -model lstm -seq_length 50", "train --cell lstm --window 50"),
        ("train --model RNN_TANH --emsize 5", "train --cell rnn --embedding 5"),
        ("train -grad_clip 5", "train --clip 5 --clip-by value --loss sum"),
        ("train --grad_clip 5.0", "train --clip 5.0"),
        ("train --decay_rate .97", "train --lr-decay epoch --lr-factor .97 --lr-hold 1"),
        ("train -decay_rate 0.95 -seed 1", "train --seed 1"),
        ("train -learning_rate_decay 1", "train --lr-decay none"),
        ("train --data_dir nowhere --nhid 3", "train nowhere --hidden 3"),
        ("train --bptt 35 --tied --wdrop 0.5", "train --window 35 --tied --weight-drop 0.5"),
        ("sample run -primetext x -length 5", "sample run --prime x --length 5"),
        ("sample run -n 5", "sample run --length 5"),
        ("eval run --model x", "eval run --model x"),
        ("verify --quick", "verify --quick"),
    ],
)
def test_old_names(old, new):
    assert in_todays_words(old.split()) == new.split()


def test_old_names_train(command, tmp_path, text):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "input.txt").write_text(text.read_text())
    words = "-rnn_size 12 -num_layers 1 -batch_size 4 -seq_length 10 -max_epochs 1 -grad_clip 5"
    out = ["-checkpoint_dir", tmp_path / "run", "-data_dir", tmp_path / "data", "--threads", 1]
    assert command("train", *words.split(), *out)[0] == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())["config"]
    assert (config["hidden"], config["clip_by"], config["epochs"]) == (12, "value", 1.0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("train -init_from cv/x.t7", "fastlstm resume cv/x.t7"),
        ("train -decay_rate 0.9", "-decay_rate must be 0.95"),
        ("train --decay_rate x", "must be a number, got 'x'"),
        ("train -grad_clip", "needs a value"),
        ("train x --preset zaremba", "zaremba-small"),
        ("verify nonsense", "zaremba-small"),
    ],
)
def test_wrong_old_names_and_presets(fails, words, said):
    assert said in fails(*words.split())
