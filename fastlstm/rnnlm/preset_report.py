"""What is said of a preset before it starts, and of what it came to."""

import copy
import time
from collections.abc import Mapping
from typing import Any

import torch
from rich.console import Console

from fastlstm.rnnlm.config import Config, differing
from fastlstm.rnnlm.dataset import Dataset, make_streams
from fastlstm.rnnlm.evaluation import evaluate
from fastlstm.rnnlm.model import RNNLM
from fastlstm.rnnlm.presets import PRESETS
from fastlstm.rnnlm.training import start_training, train_step

TIMED = 2  # steps, after one that warms up


def print_preset(console: Console, config: Config, given: Mapping[str, Any]) -> None:
    """The figure of the preset, if there is one, and where its corpus is.

    ValueError where no text is given.
    """
    if config.preset is None:
        return
    preset = PRESETS[config.preset]
    console.print(f"preset  {config.preset}: {preset.summary}")
    if preset.published is None:
        console.print(f"        {preset.source}")
    else:
        console.print(
            f"        published: {preset.part} {preset.unit} {preset.published:g}, "
            f"{preset.source}; up to {preset.tolerance:.0%} above counts as reached"
        )
    console.print(f"        on {preset.corpus}; from {preset.where}")
    if "text" not in given:
        raise ValueError(f"--preset {config.preset} needs its text: give the file")


def print_expected_time(console: Console, model: RNNLM, dataset: Dataset, config: Config) -> None:
    """How long a run with a preset will take here, by steps of a copy of the model."""
    if config.preset is None:
        return
    streams = make_streams(dataset, config, model.decoder.weight.device)
    steps = config.total_steps(config.windows_per_epoch(len(dataset.train.tokens)))
    random = torch.get_rng_state()
    training = start_training(copy.deepcopy(model), config)
    train_step(training, streams, config, steps)
    began = time.perf_counter()
    for _ in range(TIMED):
        train_step(training, streams, config, steps)
    seconds = (time.perf_counter() - began) / TIMED * steps
    torch.set_rng_state(random)
    console.print(f"time    about {_duration(seconds)} here, without validation")


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def print_verdict(console: Console, model: RNNLM, dataset: Dataset, config: Config) -> bool:
    """Whether the model reaches the preset's figure; if not, what may be why."""
    if config.preset is None:
        return True
    preset = PRESETS[config.preset]
    text, part = dataset.valid, "valid"
    test = getattr(dataset, "test", None)
    if preset.part == "test" and test is not None:
        text, part = test, "test"
    nats = evaluate(model, text, dataset.vocabulary.start).nats
    value, reached = preset.measure(nats), preset.reached(nats)
    if reached is None:
        console.print(f"measured  {part} {preset.unit} {value:.4f}; nothing to compare it with")
        return True
    verdict = "reached" if reached else "missed"
    assert preset.published is not None
    console.print(
        f"{verdict}  {part} {preset.unit} {value:.4f}, published {preset.part} "
        f"{preset.published:g}: {value / preset.published - 1:+.1%}, allowed "
        f"{preset.tolerance:+.0%}"
    )
    other = differing(config)
    reasons = [f"not the preset's own: {', '.join(other)}"] if other else []
    if part != preset.part:
        reasons.append(f"the published figure is of the {preset.part} part, this of the {part} one")
    for reason in [*reasons, *preset.misses]:
        console.print(f"          {'note' if reached else 'may be why'}: {reason}")
    return reached
