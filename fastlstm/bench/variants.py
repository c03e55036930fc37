"""What fastlstm.LSTM can be asked for beside its default, under the signature of nn.LSTM."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from fastlstm.bench.case import Case
from fastlstm.lstm import LSTM
from fastlstm.verify import make_ours

State = tuple[Tensor, Tensor]


class Stream(nn.Module):
    """`fastlstm.LSTM.stream()`, which keeps its state from step to step.

    stream: takes `[B, I]`, gives `[B, H]`. This is what is timed; `forward` is for the check.
    """

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.ours = cast(Any, make_ours(lstm))
        self.stream = self.ours.stream()

    def forward(self, x: Tensor, hx: State | None = None) -> tuple[Tensor, State]:
        """As nn.LSTM's, of one step `[1, B, I]`."""
        if hx is None:
            self.stream = self.ours.stream()
        else:
            self.stream.state = hx
        (x_t,) = x
        y_t = self.stream(x_t)
        h_n, c_n = self.stream.state
        return y_t[None], (h_n, c_n)


def streams(case: Case) -> bool:
    """Whether a case is what `Stream` is for: single steps."""
    return case.decodes and not case.bidirectional


def why_not(device: str) -> str | None:
    """What keeps these from being measured on a device."""
    return None if device == "cpu" else "it runs on cpu"


def make_bf16_weights(lstm: nn.LSTM) -> nn.Module:
    """A fastlstm.LSTM that reads its float32 weights rounded to bfloat16."""
    names = ("input_size", "hidden_size", "num_layers", "bidirectional")
    arguments = {name: getattr(lstm, name) for name in names}
    with torch.random.fork_rng(devices=[]):
        ours = cast(Any, LSTM)(**arguments, precision="bf16")
    ours = ours.to(next(lstm.parameters()))
    ours.load_state_dict(lstm.state_dict())
    module: nn.Module = ours
    return module


def reads_weights(case: Case) -> bool:
    """Whether a float32 case is bound by the reading of its weights: one row, large H."""
    return case.dtype == "float32" and case.B == 1 and case.H >= 512 and not case.ragged
