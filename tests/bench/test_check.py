"""A provider whose results are not nn.LSTM's is refused, whatever is wrong with it."""

import copy
from dataclasses import replace

import pytest
import torch
from made_up_rows import WHERE
from torch import nn

from fastlstm.bench.case import TRAINING, Case
from fastlstm.bench.check import expected_results, refusal
from fastlstm.bench.layer import Bench, measure_case
from fastlstm.bench.limits import Limits
from fastlstm.bench.providers import Provider, baseline, choose_providers
from fastlstm.bench.timing import Effort

CASES = [
    Case(3, 5, 2, 4, 6),
    Case(3, 5, 1, 4, 6, bidirectional=True),
    Case(3, 5, 2, 4, 9, ragged=True),
    Case(5, 5, 2, 1, 1),
    Case(6, 8, 1, 3, 5, dtype="float64"),
    Case(6, 8, 1, 3, 5, dtype="bfloat16"),
]
CASE = CASES[0]


def verdict(provider, case=CASE):
    module = provider.make(case.make_lstm("cpu"))
    return refusal(provider, module, case, "cpu", expected_results(case, "cpu"))


def altered(change, **fields):
    """nn.LSTM after `change` to the module."""

    def make(lstm):
        lstm = copy.deepcopy(lstm)
        with torch.no_grad():
            return change(lstm) or lstm

    return replace(baseline(), name="altered", make=make, **fields)


def reorder(lstm):
    """Gates in the order i, g, f, o, as some libraries have them."""
    for name, parameter in lstm.named_parameters():
        i, f, g, o = parameter.chunk(4)
        getattr(lstm, name).copy_(torch.cat([i, g, f, o]))


class OtherStart(nn.Module):
    """Starts from ones where no state is given."""

    def __init__(self, lstm):
        super().__init__()
        self.lstm = lstm

    def forward(self, x, hx=None):
        ones = x.new_ones(self.lstm.num_layers, x.shape[1], self.lstm.hidden_size)
        return self.lstm(x, hx or (ones, ones))


def other_gradients(module):
    return {name: p.grad * (1.002 if "hh" in name else 1) for name, p in module.named_parameters()}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_provider_that_is_here_passes(case):
    providers, _ = choose_providers("cpu", case.dtype)
    ran = [p.name for p in providers if p.why_not(case, "cpu") is None]
    assert {"nn.LSTM", "fastlstm aten", "fastlstm reference", "torch.compile"} <= set(ran)
    for provider in providers:
        if provider.name in ran and provider.meant_for(case):
            assert verdict(provider, case) is None, provider.name


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_wrong_gate_order_is_refused(case):
    assert "differs by" in verdict(altered(reorder), case)


def drop_bias(lstm):
    lstm.bias_hh_l1.zero_()


def scale(lstm):
    lstm.weight_hh_l0.mul_(1.01)


def break_weight(lstm):
    lstm.weight_ih_l0[0, 0] = float("nan")


def leave(lstm):
    pass


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        pytest.param(altered(drop_bias), "differs by", id="no bias"),
        pytest.param(altered(scale), "differs by", id="scaled weight"),
        pytest.param(altered(break_weight), "differs by", id="nan"),
        pytest.param(altered(OtherStart, trains=False), "differs by", id="other state"),
        pytest.param(altered(leave, gradients=other_gradients), "grad weight_hh", id="gradient"),
        pytest.param(altered(leave, gradients=lambda m: {}), "it has no grad", id="no gradient"),
    ],
)
def test_anything_else_that_is_wrong_is_refused(wrong, words):
    assert words in verdict(wrong)


def test_a_refused_provider_is_not_timed():
    said = []
    bench = Bench("cpu", Effort(2, 0.0, 0.0), LIMITS, WHERE, said.append)
    rows = measure_case(bench, CASE, [baseline(), altered(reorder)], [TRAINING])
    assert {row.provider for row in rows} == {"nn.LSTM"}
    assert len(said) == 1
    assert "altered" in said[0]
    assert "REFUSED" in said[0]


class Raises(nn.Module):
    """A package that is installed and does not work."""

    def forward(self, x, hx=None):
        raise TypeError("no such kernel\nfor this shape")


def test_another_package_that_raises_is_a_line_and_ours_is_refused():
    said = []
    bench = Bench("cpu", Effort(2, 0.0, 0.0), LIMITS, WHERE, said.append)
    broken = Provider("theirs", lambda lstm: Raises(), lambda case, device: None)
    ours = replace(broken, name="fastlstm cpu")
    rows = measure_case(bench, CASE, [baseline(), broken, ours], [TRAINING])
    assert {row.provider for row in rows} == {"nn.LSTM"}
    assert said == [
        f"theirs: {CASE} not measured, TypeError: no such kernel for this shape",
        f"fastlstm cpu: {CASE} REFUSED, TypeError: no such kernel for this shape",
    ]


def test_results_in_another_dtype_are_refused():
    def make(lstm):
        return OtherDtype(lstm)

    case = Case(6, 8, 1, 3, 5, dtype="bfloat16")
    provider = replace(baseline(), name="other", make=make, trains=False)
    assert "torch.float32" in verdict(provider, case)


class OtherDtype(nn.Module):
    """Computes in float32, and leaves it at that."""

    def __init__(self, lstm):
        super().__init__()
        self.lstm = copy.deepcopy(lstm).float()

    def forward(self, x, hx=None):
        return self.lstm(x.float(), hx)


def test_no_ratio_to_an_nn_lstm_that_is_not_finite(monkeypatch):
    honest = Case.make_lstm

    def broken(self, device):
        lstm = honest(self, device)
        break_weight_of(lstm)
        return lstm

    monkeypatch.setattr(Case, "make_lstm", broken)
    with pytest.raises(RuntimeError, match="not finite"):
        expected_results(CASE, "cpu")


def break_weight_of(lstm):
    with torch.no_grad():
        break_weight(lstm)


def test_nn_lstm_is_measured_with_its_weights_in_one_piece(monkeypatch):
    """As cuDNN wants them; a copy made by deepcopy alone has them apart."""
    flattened = []
    monkeypatch.setattr(nn.LSTM, "flatten_parameters", lambda self: flattened.append(self))
    lstm = CASE.make_lstm("cpu")
    flattened.clear()
    copied = baseline().make(lstm)
    assert flattened == [copied]


def test_what_only_infers_is_judged_by_what_it_infers():
    provider = Provider("inference", copy.deepcopy, lambda case, device: None, trains=False)
    assert verdict(provider) is None
    assert verdict(replace(altered(reorder), trains=False)) is not None


LIMITS = Limits({"float32": 1e9}, {}, 0.0, {}, 1 << 20)
