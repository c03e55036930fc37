"""Time models of other packages as they are and converted, side by side; print a table.

    python benchmarks/models.py                    all that are installed
    python benchmarks/models.py stanza sb3         those whose names begin so
    python benchmarks/models.py --threads 1 --budget 30

Their packages come with the extra `models`. A ratio above 1 is what `fastlstm.convert` gained. No
model can gain more than the share of its time that it spends in LSTMs: "in LSTM" is that share of
an inference, as it was before.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import logging
import statistics
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import nn

import fastlstm
from fastlstm.bench.conditions import conditions, describe
from fastlstm.bench.timing import Call, Effort, interleave

sys.path.append(str(Path(__file__).parent.parent / "tests" / "models"))
from model_sample import Sample
from zoo import ZOO, Entry

LINE = "{:<22} {:<17} {:>10} {:>10} {:>7} {:>15} {:>8}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", default=[""], help="how the models' names begin")
    parser.add_argument("--threads", type=int, help="torch's own number if not given")
    parser.add_argument("--budget", type=float, default=10.0, help="seconds of each measurement")
    options = parser.parse_args(arguments)
    logging.disable(logging.INFO)  # stanza tells how it builds
    if options.threads:
        torch.set_num_threads(options.threads)
    effort = Effort(rounds=51, sample=0.02, budget=options.budget)
    print(describe(conditions("cpu")))
    print(LINE.format("model", "", "nn.LSTM", "fastlstm", "ratio", "20th to 80th", "in LSTM"))
    for name, entry in ZOO.items():
        if not name.startswith(tuple(options.names)):
            continue
        if importlib.util.find_spec(entry.package) is None:
            print(f"{name:<22} no {entry.package}")
            continue
        for line in measure(name, entry, effort):
            print(line, flush=True)


def measure(name: str, entry: Entry, effort: Effort) -> list[str]:
    """A line for inference, and one for training if the model has gradients."""
    torch.manual_seed(0)
    sample = entry.build()
    ours = copy.deepcopy(sample.model)
    fastlstm.convert(ours)
    models = [sample.model.eval(), ours.eval()]
    share = share_in_lstm(sample, models[0])
    calls: list[Call] = [partial(infer, sample, model) for model in models]
    lines = [line(name, "inference", interleave(calls, effort, "cpu"), f"{share:.0%}")]
    if not entry.draws:
        calls = [partial(train, sample, model.train()) for model in models]
        lines.append(line("", "forward+backward", interleave(calls, effort, "cpu"), ""))
    return lines


@torch.inference_mode()
def infer(sample: Sample, model: nn.Module) -> None:
    sample.call(model, **sample.inputs)


def train(sample: Sample, model: nn.Module) -> None:
    model.zero_grad()
    outputs = sample.call(model, **sample.inputs)
    sum(output.sum() for output in outputs.values()).backward()


def share_in_lstm(sample: Sample, model: nn.Module) -> float:
    """The part of an inference's time that passes inside LSTMs and cells, the least of three."""
    inside: list[float] = []
    started: list[float] = []
    hooks = []
    for module in model.modules():
        if isinstance(module, (nn.LSTM, nn.LSTMCell)):
            begin = module.register_forward_pre_hook(lambda *_: started.append(time.perf_counter()))
            end = module.register_forward_hook(
                lambda *_: inside.append(time.perf_counter() - started.pop())
            )
            hooks += [begin, end]
    shares = []
    for _ in range(4):
        inside.clear()
        start = time.perf_counter()
        infer(sample, model)
        shares.append(sum(inside) / (time.perf_counter() - start))
    for hook in hooks:
        hook.remove()
    return min(shares[1:])


def line(name: str, measure: str, times: list[list[float]], share: str) -> str:
    """A row: medians, and the ratios of the rounds."""
    torchs, ours = (1e3 * statistics.median(own) for own in times)
    ratios = [before / after for before, after in zip(*times, strict=True)]
    fifths = statistics.quantiles(ratios, n=5, method="inclusive")
    ratio = f"{statistics.median(ratios):.2f}x"
    between = f"{fifths[0]:.2f} to {fifths[3]:.2f}"
    return LINE.format(
        name, measure, f"{torchs:.2f} ms", f"{ours:.2f} ms", ratio, between, share
    ).rstrip()


if __name__ == "__main__":
    main()
