"""What a run writes down of itself: log.jsonl and TensorBoard's files."""

import builtins
import json
import time

import pytest
from conftest import SMALL

event_accumulator = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard"
)

from torch.utils.tensorboard import SummaryWriter  # noqa: E402


def scalars(run):
    """Steps and values of each curve."""
    events = event_accumulator.EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def logged(run, kind, name):
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [(r["step"], pytest.approx(r[name], rel=1e-6)) for r in records if r["kind"] == kind]


def test_tensorboard_has_the_numbers_of_the_log_after_a_resume_too(command, text, tmp_path):
    run = tmp_path / "run"
    options = [*SMALL, "--steps", 60, "--eval-every", 20, "--tensorboard"]
    assert command("train", text, *options, "--out", run, "--stop-after", 30)[0] == 0
    crashed = SummaryWriter(str(run / "tensorboard"), filename_suffix=".lost")
    crashed.add_scalar("train/loss", 99.0, 40)  # a step that was not saved
    crashed.close()
    time.sleep(1.1)  # its files go by the second
    assert command("resume", run)[0] == 0
    curves = scalars(run)
    for name in ("loss", "grad_norm", "clipped", "lr"):
        assert curves[f"train/{name}"] == logged(run, "train", name), name
    for name in ("loss", "perplexity", "bits_per_character"):
        assert curves[f"valid/{name}"] == logged(run, "valid", name), name
    assert len(curves["train/loss"]) == 6
    speeds = [json.loads(line) for line in (run / "speed.jsonl").read_text().splitlines()]
    expected = [(s["step"], pytest.approx(s["tokens_per_second"], rel=1e-6)) for s in speeds]
    assert curves["train/tokens_per_second"] == expected


def test_no_tensorboard_unless_asked(run):
    assert not (run / "tensorboard").exists()


def test_tensorboard_that_is_not_installed_is_said(command, text, tmp_path, monkeypatch):
    find = builtins.__import__

    def without(name, *arguments, **more):
        if name.startswith(("torch.utils.tensorboard", "tensorboard")):
            raise ImportError(name)
        return find(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    code, _, err = command("train", text, *SMALL, "--tensorboard", "--out", tmp_path / "run")
    assert code == 2
    assert "--tensorboard needs tensorboard: pip install 'fastlstm[train]'" in err


def test_clip_rate_is_logged(command, text, tmp_path):
    rates = {}
    for clip in (1e-3, 1e3):
        run = tmp_path / str(clip)
        options = ["--steps", 20, "--eval-every", 10, "--clip", clip, "--out", run]
        assert command("train", text, *SMALL, *options)[0] == 0
        rates[clip] = [rate for _, rate in logged(run, "train", "clipped")]
    assert rates == {1e-3: [1, 1], 1e3: [0, 0]}
