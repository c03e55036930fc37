"""The layer under pytest-benchmark: a group for each shape and pass, a benchmark for each provider.

    pytest benchmarks/ --benchmark-only -k quick
    pytest benchmarks/ --benchmark-only -k "full and training and H128" --benchmark-autosave

Each provider's results are checked before it is timed; one that is wrong fails. pytest-benchmark
times one provider after the other, not in turn: `fastlstm bench` has the ratios to quote.
"""

from contextlib import nullcontext
from dataclasses import replace
from functools import lru_cache

import pytest
import torch

from fastlstm.bench.case import DECODE, FORWARD, INFERENCE, TRAINING
from fastlstm.bench.check import expected_results, refusal
from fastlstm.bench.grid import FULL, QUICK
from fastlstm.bench.layer import make_call
from fastlstm.bench.providers import choose_providers
from fastlstm.bench.timing import synchronize

IDS = {INFERENCE: "inference", FORWARD: "forward", TRAINING: "training", DECODE: "decode"}


def pytest_generate_tests(metafunc):
    """Every case of both grids, pass and provider, named so that -k chooses."""
    device = metafunc.config.getoption("--bench-device")
    dtype = metafunc.config.getoption("--bench-dtype")
    providers = choose_providers(device, dtype)[0]
    parameters = []
    for grid, cases, passes in (
        ("quick", QUICK, (INFERENCE, TRAINING)),
        ("full", FULL, (INFERENCE, FORWARD, TRAINING)),
    ):
        for case in cases:
            case = replace(case, dtype=dtype)
            for measure in [DECODE] if case.decodes else passes:
                for provider in [p for p in providers if p.meant_for(case)]:
                    if provider.runs(measure) and provider.why_not(case, device) is None:
                        parts = [grid, IDS[measure], str(case), provider.name]
                        identity = "-".join(parts).replace(" ", "-")
                        parameters.append(pytest.param(case, measure, provider, id=identity))
    metafunc.parametrize(("case", "measure", "provider"), parameters)


@lru_cache(maxsize=2)
def expected(case, device):
    return expected_results(case, device)


def test_layer(benchmark, device, case, measure, provider):
    module = provider.make(case.make_lstm(device))
    assert refusal(provider, module, case, device, expected(case, device)) is None
    benchmark.group = f"{case} {measure}"
    benchmark.extra_info.update(flops=case.flops(measure), provider=provider.name)
    with torch.no_grad() if measure in (INFERENCE, DECODE) else nullcontext():
        call = make_call(module, case, measure, device)
        benchmark(call if device == "cpu" else lambda: (call(), synchronize(device)))
