"""Time int8 weights beside bf16 ones, nn.LSTM and torch's own int8; say what they cost in accuracy.

    python benchmarks/int8.py                       sequences and single steps, B = 1 and 4
    python benchmarks/int8.py --threads 1 --sizes 512 1024
    python benchmarks/int8.py --run RUN             loss of a run of `fastlstm train` instead

Ratios are medians over rounds in which all take turns: above 1, int8 weights are faster.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

import fastlstm
from fastlstm.bench.conditions import conditions, describe
from fastlstm.bench.timing import Call, Effort, interleave
from fastlstm.rnnlm.checkpoint import load_weights
from fastlstm.rnnlm.corpus import read_corpus
from fastlstm.rnnlm.dataset import make_dataset
from fastlstm.rnnlm.evaluation import evaluate
from fastlstm.rnnlm.model import make_model
from fastlstm.rnnlm.runs import open_run

STEPS = 64
NAMES = ("int8", "bf16", "float32", "nn.LSTM", "torch int8")
LINE = "{:<18} {:<9} {:>12}" + 4 * " {:>12}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=[128, 256, 512, 1024, 2048])
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 4])
    parser.add_argument("--threads", type=int, help="torch's own number if not given")
    parser.add_argument("--budget", type=float, default=10.0, help="seconds of each measurement")
    parser.add_argument("--run", type=Path, help="a run of `fastlstm train`, whose loss to compare")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # torch's quantization is deprecated, and says so
    if options.threads:
        torch.set_num_threads(options.threads)
    print(describe(conditions("cpu")))
    torch.set_grad_enabled(False)
    if options.run:
        print_losses(options.run)
        return
    effort = Effort(rounds=51, sample=0.01, budget=options.budget)
    print(LINE.format("", "", "int8, us/step", *(f"over {name}" for name in NAMES[1:])))
    for hidden in options.sizes:
        for batch in options.batches:
            for line in measure(hidden, batch, effort):
                print(line, flush=True)


def measure(hidden: int, batch: int, effort: Effort) -> list[str]:
    """A line for a sequence of `STEPS`, and one for a step with the state carried."""
    torch.manual_seed(0)
    peer = nn.LSTM(hidden, hidden).eval()
    forms = forms_of(peer)
    x = torch.randn(STEPS, batch, hidden)
    whole: list[Call] = [partial(form, x) for form in forms]
    shape = f"H{hidden} B{batch}"
    return [
        line(shape, f"T = {STEPS}", interleave(whole, effort, "cpu"), STEPS),
        line("", "one step", interleave(steps_of(forms, x[0]), effort, "cpu"), 1),
    ]


def forms_of(peer: nn.LSTM) -> list[nn.Module]:
    """The same LSTM in the forms of `NAMES`."""
    ours = []
    for precision in ("int8", "bf16", None):
        form = copy.deepcopy(peer)
        fastlstm.convert(form, precision=precision)
        ours.append(form)
    return [*ours, peer, dynamically_quantized(nn.Sequential(peer))[0]]


def dynamically_quantized(model: nn.Module) -> nn.Module:
    """A copy whose nn.LSTMs are torch's own with weights in 8 bits."""
    quantized: nn.Module = torch.ao.quantization.quantize_dynamic(
        model, {nn.LSTM}, dtype=torch.qint8
    )
    return quantized


def steps_of(forms: Sequence[nn.Module], x: Tensor) -> list[Call]:
    """A step of each form, with a stream where there is one."""
    state = (torch.zeros(1, *x.shape),) * 2
    calls: list[Call] = []
    for form in forms:
        if isinstance(form, fastlstm.LSTM):
            calls.append(partial(form.stream(x.shape[0]), x))
        else:
            calls.append(partial(form, x[None], state))
    return calls


def line(shape: str, measured: str, times: list[list[float]], steps: int) -> str:
    """The first one's microseconds a step, and how many times longer each other takes."""
    first, *others = times
    ratios = []
    for own in others:
        pairs = zip(first, own, strict=False)  # a slow one had its turn in the first rounds only
        ratios.append(statistics.median(other / int8 for int8, other in pairs))
    each = f"{1e6 * statistics.median(first) / steps:.1f}"
    return LINE.format(shape, measured, each, *(f"{ratio:.2f}x" for ratio in ratios)).rstrip()


def print_losses(path: Path) -> None:
    """Nats per token on the run's validation part, of its LSTM in each form."""
    run = open_run(path)
    dataset = make_dataset(read_corpus(run.config), run.config, run.vocabulary)
    model = make_model(len(run.vocabulary), run.config, torch.device("cpu"))
    load_weights(run, "best", model)
    forms = {}
    for name, precision in (("float32", None), ("bf16", "bf16"), ("int8", "int8")):
        forms[name] = copy.deepcopy(model)
        forms[name].rnn.precision = precision
    torchs = copy.deepcopy(model)
    fastlstm.restore(torchs)
    forms["torch int8"] = dynamically_quantized(torchs)
    single = None
    for name, form in forms.items():
        nats = evaluate(form, dataset.valid, run.vocabulary.start).nats
        single = nats if single is None else single
        print(f"{name:<12} {nats:.6f} nats per token, {nats - single:+.6f}", flush=True)


if __name__ == "__main__":
    main()
