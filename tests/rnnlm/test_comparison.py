"""`train --verify`: a sound layer passes, a wrong gradient does not, however small the fault."""

import pytest
import torch
from conftest import SMALL
from torch import nn

from fastlstm.rnnlm import recurrence
from fastlstm.rnnlm.chart import BOTH, OURS, THEIRS, draw_curves


class Faulty(torch.autograd.Function):
    """The identity, whose gradient is scaled."""

    @staticmethod
    def forward(ctx, x, scale):
        ctx.scale = scale
        return x.clone()

    @staticmethod
    def backward(ctx, dy):
        return dy * ctx.scale, None


def faulty_lstm(faults: dict[str, float]) -> type[nn.LSTM]:
    """nn.LSTM with the gradient of weight_hh, or an output, off by a factor."""

    class FaultyLSTM(nn.LSTM):
        def __init__(self, *size: int, dropout: float, backend: str) -> None:
            super().__init__(*size, dropout=dropout)
            if "weight_hh" in faults:
                self.weight_hh_l0.register_hook(lambda grad: grad * faults["weight_hh"])

        def forward(self, x, hx):
            y, (h_n, c_n) = super().forward(x, hx)
            y = Faulty.apply(y, faults.get("dy", 1.0)) * faults.get("y", 1.0)
            return y, (h_n, c_n * faults.get("c_n", 1.0))

    return FaultyLSTM


def test_sound_layer_passes(command, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = command("train", text, *SMALL, "--verify")
    assert code == 0, out
    assert err == ""
    assert "passed  200 steps" in out
    assert "tokens/s" in out
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("faults", "where"),
    [
        pytest.param({"weight_hh": 1.01}, "the gradient of rnn.weight_hh_l0", id="dweight_hh"),
        pytest.param({"dy": 1.001}, "the gradient of ", id="all-gradients"),
        pytest.param({"y": 1.0001}, "", id="output"),
        pytest.param({"c_n": 1.001}, "c_n", id="final-state"),
    ],
)
def test_faulty_layer_fails(command, text, monkeypatch, faults, where):
    monkeypatch.setattr(recurrence, "LSTM", faulty_lstm(faults))
    code, out, _ = command("train", text, *SMALL, "--verify")
    assert code == 1
    assert f"FAILED  step 1: {where}" in out


def test_nn_lstm_in_its_place_passes(command, text, monkeypatch):
    """The faulty layer without a fault: what fails above is the fault."""
    monkeypatch.setattr(recurrence, "LSTM", faulty_lstm({}))
    assert command("train", text, *SMALL, "--verify", "--steps", 30)[0] == 0


def test_nan_is_a_fault(command, text, monkeypatch):
    monkeypatch.setattr(recurrence, "LSTM", faulty_lstm({"weight_hh": float("nan")}))
    assert command("train", text, *SMALL, "--verify")[0] == 1


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--dropout 0.5", "without dropout"),
        ("--zoneout 0.1", "leave out --zoneout"),
        ("--precision bf16", "leave out --precision bf16"),
        ("--cell gru", "--cell lstm"),
        ("--implementation torch", "fastlstm's LSTM"),
        ("--out x", "--out"),
        ("--stop-after 5", "--stop-after"),
    ],
)
def test_what_cannot_be_compared_is_refused(command, text, option, said):
    code, _, err = command("train", text, *SMALL, "--verify", *option.split())
    assert code == 2
    assert said in err


def test_chart_shows_where_curves_agree_and_part():
    lines = draw_curves([3.0, 2.0, 1.0], [3.0, 2.0, 2.0], height=3)
    assert [line.split("│")[1] for line in lines] == [f"{BOTH}  ", f" {BOTH}{THEIRS}", f"  {OURS}"]
    assert lines[0].startswith("  3.0000")
    assert lines[-1].startswith("  1.0000")


def test_chart_of_a_constant_is_a_line():
    assert draw_curves([1.0] * 5, [1.0] * 5)[0].endswith(BOTH * 5)
