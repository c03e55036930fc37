"""torch.export and torch.jit.trace of lengths and resets."""

import pytest
import torch
from torch import nn

import fastlstm

B, I, H = 5, 4, 6
each_name = pytest.mark.parametrize("name", ["lengths", "resets"])
ignore = pytest.mark.filterwarnings("ignore")


class Caller(nn.Module):
    """An LSTM called with one argument by name: exporters and tracers take none."""

    def __init__(self, lstm, name):
        super().__init__()
        self.lstm, self.name = lstm, name

    def forward(self, x, given):
        return self.lstm(x, **{self.name: given})


def inputs(name, steps):
    """x, and one that goes by the name."""
    lengths = torch.cat((torch.tensor([0, steps]), torch.randint(1, steps + 1, (B - 2,))))
    given = lengths if name == "lengths" else torch.rand(steps, B) < 0.3
    return torch.randn(steps, B, I), given


@each_name
@pytest.mark.parametrize("strict", [True, False], ids=["strict", "non-strict"])
def test_export_with_any_length(strict, name):
    model = Caller(fastlstm.LSTM(I, H, 2).eval(), name)
    steps = torch.export.Dim("steps", min=2)
    shapes = ({0: steps}, None if name == "lengths" else {0: steps})
    with torch.no_grad():
        example = inputs(name, 7)
        program = torch.export.export(model, example, strict=strict, dynamic_shapes=shapes)
        for steps in (2, 9):
            given = inputs(name, steps)
            torch.testing.assert_close(program.module()(*given), model(*given))


@ignore
@each_name
@pytest.mark.parametrize("config", [{}, {"num_layers": 2, "bidirectional": True}], ids=str)
def test_jit_trace_with_a_backend_by_name(config, name):
    model = Caller(fastlstm.LSTM(I, H, backend="cpu", **config), name)
    traced = torch.jit.trace(model, inputs(name, 7), check_trace=False)
    for steps in (2, 9):
        given = inputs(name, steps)
        torch.testing.assert_close(traced(*given), model(*given))


@ignore
@each_name
def test_torchs_operator_is_not_recorded_without_them(name):
    model = Caller(fastlstm.LSTM(I, H), name)
    with pytest.raises(RuntimeError, match=f"{name} must be None where torch's operator"):
        torch.jit.trace(model, inputs(name, 7))
