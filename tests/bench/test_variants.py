"""The stream and the rounded weights: checked, timed where they are meant for, else passed over."""

from dataclasses import replace

import pytest
import torch
from made_up_rows import WHERE
from torch import nn

from fastlstm.bench import variants
from fastlstm.bench.case import DECODE, FORWARD, INFERENCE, PASSES, TRAINING, Case
from fastlstm.bench.check import expected_results, refusal
from fastlstm.bench.layer import Bench, measure_case
from fastlstm.bench.limits import Limits
from fastlstm.bench.providers import baseline, choose_providers, variant_providers
from fastlstm.bench.timing import Effort

STEP, LARGE = Case(5, 7, 2, 1, 1), Case(3, 512, 1, 1, 6)


class Steps:
    """What `LSTM.stream()` gives."""

    def __init__(self, lstm):
        self.lstm, self.seen = lstm, []
        zeros = torch.zeros(lstm.num_layers, 1, lstm.hidden_size)
        self.state = zeros, zeros

    def __call__(self, x_t):
        self.seen.append(x_t.shape)
        y, self.state = self.lstm(x_t[None], self.state)
        return y[0]


class Rounding(nn.LSTM):
    """An LSTM with `stream()` and `precision`."""

    def __init__(self, *sizes, precision="", **others):
        super().__init__(*sizes, **others)
        self.precision = precision

    def stream(self):
        return Steps(self)

    def load_state_dict(self, state):
        rounded = {k: v.bfloat16().float() if "weight" in k else v for k, v in state.items()}
        super().load_state_dict(rounded if self.precision == "bf16" else state)


def make_stand_in(lstm):
    ours = Rounding(lstm.input_size, lstm.hidden_size, lstm.num_layers)
    ours.load_state_dict(lstm.state_dict())
    return ours


@pytest.fixture
def _here(monkeypatch):
    """fastlstm.LSTM has both."""
    monkeypatch.setattr(variants, "LSTM", Rounding)
    monkeypatch.setattr(variants, "make_ours", make_stand_in)


def named(name):
    (provider,) = [p for p in variant_providers("cpu")[0] if p.name == f"fastlstm {name}"]
    return provider


def verdict(provider, case):
    module = provider.make(case.make_lstm("cpu"))
    return refusal(provider, module, case, "cpu", expected_results(case, "cpu"))


def measured(case, provider, measures=PASSES):
    """The rows of the provider, and the lines."""
    said = []
    limits = Limits({"float32": 1e12, "bfloat16": 1e12}, {(8, 8): 1e9}, 0.0, {}, kept=0)
    bench = Bench("cpu", Effort(2, 0.0, 0.0), limits, WHERE, said.append)
    rows = measure_case(bench, case, [baseline(), provider], measures)
    return [row for row in rows if row.provider == provider.name], said


@pytest.mark.usefixtures("_here")
def test_they_run_on_a_cpu_and_are_not_the_default():
    providers, _ = choose_providers("cpu", "float32", ["nn.LSTM"])
    own = [p for p in providers if p.name in ("fastlstm stream", "fastlstm bf16 weights")]
    assert [p.backend for p in own] == ["", ""]
    providers, lines = variant_providers("cuda")
    assert providers == []
    assert lines[0] == "fastlstm stream: not measured, it runs on cpu"


@pytest.mark.parametrize("case", [STEP, Case(9, 4, 1, 1, 1)], ids=str)
def test_a_stream_that_is_right_passes(case):
    assert verdict(named("stream"), case) is None


@pytest.mark.usefixtures("_here")
def test_a_stream_starts_from_zeros_where_no_state_is_given():
    lstm, x = STEP.make_lstm("cpu"), STEP.make_input("cpu", False)
    module = named("stream").make(lstm)
    with torch.no_grad():
        module(x, (torch.ones(2, 1, 7), torch.ones(2, 1, 7)))
        torch.testing.assert_close(module(x), lstm(x))


class Forgetful(Steps):
    """Starts every step from zeros."""

    def __call__(self, x_t):
        y, self.state = self.lstm(x_t[None])
        return y[0]


class Stuck(Steps):
    """Leaves its state as it was."""

    def __call__(self, x_t):
        return self.lstm(x_t[None], self.state)[0][0]


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize("wrong", [Forgetful, Stuck])
def test_a_stream_that_is_wrong_is_refused(monkeypatch, wrong):
    monkeypatch.setattr(Rounding, "stream", lambda self: wrong(self))
    assert "differs by" in verdict(named("stream"), STEP)


@pytest.mark.usefixtures("_here")
def test_a_stream_is_timed_step_by_step_with_its_state_inside(monkeypatch):
    made = []
    monkeypatch.setattr(Rounding, "stream", lambda self: made.append(Steps(self)) or made[-1])
    rows, said = measured(STEP, named("stream"))
    assert [(row.measure, row.auto, row.unit) for row in rows] == [(DECODE, False, "us")]
    assert rows[0].ratio > 0
    (stream,) = made
    assert set(stream.seen) == {(1, 5)}
    assert len(stream.seen) > 1
    assert said == []


@pytest.mark.usefixtures("_here")
def test_weights_are_held_to_the_digits_that_they_are_rounded_to():
    provider = named("bf16 weights")
    assert provider.make(LARGE.make_lstm("cpu")).precision == "bf16"
    assert verdict(provider, LARGE) is None
    assert "differs by" in verdict(replace(provider, rounds_to=None), LARGE)

    def make_wrong(lstm):
        with torch.no_grad():
            lstm.weight_ih_l0.mul_(1.5)
        return provider.make(lstm)

    assert "differs by" in verdict(replace(provider, make=make_wrong), LARGE)


@pytest.mark.usefixtures("_here")
def test_rounded_weights_are_timed_without_gradients_and_half_as_long_to_read():
    provider = named("bf16 weights")
    rows, said = measured(LARGE, provider)
    assert [row.measure for row in rows] == [INFERENCE]
    assert rows[0].floor == pytest.approx(1e3 * LARGE.T * LARGE.recurrent_bytes() / 2 / 1e9)
    rows, _ = measured(replace(LARGE, T=1), provider)
    assert [row.measure for row in rows] == [DECODE]
    assert not provider.runs(FORWARD)
    assert not provider.runs(TRAINING)
    assert said == []


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("stream", Case(5, 7, 1, 1, 2)),
        ("stream", Case(5, 7, 1, 2, 1)),
        ("stream", replace(STEP, bidirectional=True)),
        ("bf16 weights", Case(3, 256, 1, 1, 2)),
        ("bf16 weights", Case(3, 512, 1, 2, 2)),
        ("bf16 weights", replace(LARGE, dtype="bfloat16")),
    ],
    ids=str,
)
def test_other_cases_are_passed_over_without_a_line(name, case):
    assert measured(case, named(name), [INFERENCE]) == ([], [])
