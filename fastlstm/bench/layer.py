"""One case: every provider checked, then timed in turn; the figures as rows."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from fastlstm.bench.case import DECODE, INFERENCE, TRAINING, Case
from fastlstm.bench.check import expected_results, refusal
from fastlstm.bench.limits import Limits
from fastlstm.bench.memory import peak_bytes, saved_bytes
from fastlstm.bench.providers import Provider, rows_of
from fastlstm.bench.row import BASELINE, Row
from fastlstm.bench.timing import Call, Effort, interleave, spread, synchronize
from fastlstm.bench.variants import Stream


@dataclass(frozen=True)
class Bench:
    """What all cases of a run share."""

    device: str
    effort: Effort
    limits: Limits
    where: dict[str, Any]  # the conditions, as fields of Row
    say: Callable[[str], None]  # takes a line about a provider that is not measured


@dataclass(frozen=True)
class Candidate:
    """A provider whose results on the case were right."""

    provider: Provider
    module: nn.Module


def measure_case(
    bench: Bench, case: Case, providers: Sequence[Provider], measures: Sequence[str]
) -> list[Row]:
    """The rows of a case; nn.LSTM, the first provider, is what ratios are to."""
    candidates = list(_check(bench, case, providers))
    if not candidates or candidates[0].provider.name != BASELINE:
        raise RuntimeError(f"{case}: nn.LSTM does not agree with itself: no ratio means anything")
    rows = []
    for measure in [DECODE] if case.decodes else measures:
        able = [c for c in candidates if c.provider.runs(measure)]
        rows += _time(bench, case, able, measure)
    if TRAINING in measures and not case.decodes:
        rows += _measure_memory(bench, case, [c for c in candidates if c.provider.trains])
    return rows


def _check(bench: Bench, case: Case, providers: Sequence[Provider]) -> Iterator[Candidate]:
    """Those that can run the case and give the right results."""
    expected = expected_results(case, bench.device)
    for provider in [p for p in providers if p.meant_for(case)]:
        reason = provider.why_not(case, bench.device)
        if reason is not None:
            bench.say(f"{provider.name}: {case} not measured, {reason}")
            continue
        try:
            module = provider.make(case.make_lstm(bench.device))
            wrong = refusal(provider, module, case, bench.device, expected)
        except Exception as error:  # another's package may fail in any way
            if provider.name == BASELINE:
                raise
            wrong = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            if not provider.name.startswith("fastlstm"):
                bench.say(f"{provider.name}: {case} not measured, {wrong}")
                continue
        if wrong is None:
            yield Candidate(provider, module)
        else:
            bench.say(f"{provider.name}: {case} REFUSED, {wrong}")


def make_call(module: nn.Module, case: Case, measure: str, device: str) -> Call:
    """What is timed: one pass of a module, or one step of a decoder that carries its state."""
    x = case.make_input(device, requires_grad=measure == TRAINING)
    if isinstance(module, Stream):
        (x_t,) = rows_of(x)
        return lambda: module.stream(x_t)
    if measure == DECODE:
        state = module(x)[1]

        def step() -> None:
            nonlocal state
            state = module(x, state)[1]
            synchronize(device)  # latency: who decodes needs this step's output for the next

        return step
    if measure != TRAINING:
        return lambda: module(x)
    output = rows_of(module(x)[0])
    arriving = torch.ones_like(output)

    def forward_backward() -> None:
        module.zero_grad()
        rows_of(x).grad = None
        torch.autograd.backward(rows_of(module(x)[0]), arriving)

    return forward_backward


def _time(bench: Bench, case: Case, able: list[Candidate], measure: str) -> list[Row]:
    """Times of a pass, one row a provider."""
    # also while the calls are made: a decoder's state must not drag a graph along
    with torch.no_grad() if measure in (INFERENCE, DECODE) else nullcontext():
        calls = [make_call(c.module, case, measure, bench.device) for c in able]
        times = interleave(calls, bench.effort, bench.device)
    scale, unit = (1e6, "us") if measure == DECODE else (1e3, "ms")
    rows = []
    for candidate, own in zip(able, times, strict=True):
        ratios = [a / b for a, b in zip(times[0], own, strict=False)]
        share = bench.limits.share(case, measure, statistics.median(own))
        read = replace(case, dtype=candidate.provider.rounds_to or case.dtype)
        floor = bench.limits.floor(read, measure) * scale
        values = [t * scale for t in own]
        limits = {"gemm_share": share, "floor": floor}
        metric = {"measure": measure, "metric": "time", "unit": unit}
        rows.append(make_row(bench, case, candidate.provider, values, ratios, metric | limits))
    return rows


def _measure_memory(bench: Bench, case: Case, able: list[Candidate]) -> list[Row]:
    """Peak and saved bytes of a training step."""
    gc.collect()
    rows = []
    first: dict[str, float] = {}
    for candidate in able:
        x = case.make_input(bench.device, True)
        step = make_call(candidate.module, case, TRAINING, bench.device)
        step()
        module = candidate.module
        saved = float(saved_bytes(module, lambda m=module, x=x: m(x), rows_of(x)))  # type: ignore[misc]
        peaks = []
        for _ in range(bench.effort.memory_rounds):
            module.zero_grad()  # so that every step makes its gradients anew
            peaks.append(peak_bytes(step, bench.device))
        measured = {"saved for backward": [saved]}
        if None not in peaks:
            measured["peak memory"] = [float(peak) for peak in peaks if peak is not None]
        for name, values in measured.items():
            median = statistics.median(values)
            first.setdefault(name, median)
            ratios = [first[name] / median] if median else []
            metric = {"measure": TRAINING, "metric": name, "unit": "bytes"}
            rows.append(make_row(bench, case, candidate.provider, values, ratios, metric))
    return rows


def make_row(
    bench: Bench,
    case: Case,
    provider: Provider,
    values: Sequence[float],
    ratios: Sequence[float],
    metric: dict[str, Any],
) -> Row:
    """A row from the values of the rounds and their ratios to nn.LSTM."""
    p20, p50, p80 = spread(values)
    ratio = spread(ratios) if ratios else (None,) * 3
    shape = {name: getattr(case, name) for name in ("I", "H", "layers", "B", "T", "directions")}
    fields = {"gemm_share": None, "floor": None} | shape | metric | bench.where
    return Row(
        provider=provider.name,
        auto=provider.is_auto(case, metric["measure"], bench.device),
        lengths="ragged" if case.ragged else "padded",
        dtype=case.dtype,
        p20=p20,
        p50=p50,
        p80=p80,
        rounds=len(values),
        ratio_p20=ratio[0],
        ratio=ratio[1],
        ratio_p80=ratio[2],
        **fields,
    )
