"""`LSTMCell`: the module that stands where `nn.LSTMCell` stood."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._jit_internal import is_scripting

from fastlstm import functional, original, step, tracing

State = tuple[Tensor, Tensor]


class LSTMCell(original.LSTMCell):
    """One step of an LSTM, as `torch.nn.LSTMCell`, on fastlstm's kernels.

    The arguments, the parameters and their names, the initial values for a given seed, the
    `state_dict`, the shapes and the errors are those of `torch.nn.LSTMCell`, and so are the
    equations (Hochreiter & Schmidhuber 1997; Gers et al. 2000).

    Args:
        input_size: features of the input, I.
        hidden_size: features of the state, H.
        bias: whether there are bias_ih and bias_hh.
        device: where the parameters are made.
        dtype: the floating-point type of the parameters.
        backend: "auto" takes the fastest that can run the step. One asked for by name
            ("cpu", "aten", "reference") is used, or a RuntimeError says why it can't be.

    Shapes: input ``[B, I]`` or ``[I]``; h and c, before and after, ``[B, H]`` or ``[H]``.

    Raises:
        ValueError, TypeError, RuntimeError: as nn.LSTMCell, in its words; ValueError for a backend
            that is not known.
    """

    backend = "auto"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        backend: str = "auto",
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)
        functional.check_backend(backend)
        self.backend = backend

    def __prepare_scriptable__(self) -> original.LSTMCell:
        """What torch.jit.script compiles: its graphs run where fastlstm is not installed."""
        return original.alike(self, original.LSTMCell)

    def forward(self, input: Tensor, hx: State | None = None) -> State:
        """h and c after the step; before it they are `hx`, or zero."""
        # A compiler of torch.jit reads one branch only.
        if is_scripting():
            after = self._scripted(input, hx)
        else:
            after = self._step(input, hx)
        return after

    def _scripted(self, input: Tensor, hx: State | None) -> State:
        batched = input.dim() == 2
        x = input if batched else input.unsqueeze(0)
        if hx is None:
            h = torch.zeros(x.size(0), self.hidden_size, dtype=x.dtype, device=x.device)
            c = h
        else:
            h, c = hx
            if not batched:
                h, c = h.unsqueeze(0), c.unsqueeze(0)
        weights = self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh
        h, c = torch.lstm_cell(x, [h, c], weights[0], weights[1], weights[2], weights[3])
        return (h, c) if batched else (h.squeeze(0), c.squeeze(0))

    def _step(self, input: Tensor, hx: State | None) -> State:
        if tracing.records_module(input):
            return tracing.as_module(self, input, hx)  # type: ignore[no-any-return]
        if tracing.records_torch(self.backend) or not self._fits(input, hx):
            return super().forward(input, hx)
        batched = input.dim() == 2
        x = input if batched else input.unsqueeze(0)
        if hx is None:
            zeros = x.new_zeros(x.size(0), self.hidden_size)
            h, c = zeros, zeros.clone() if torch.compiler.is_compiling() else zeros
        else:
            h, c = hx if batched else (hx[0].unsqueeze(0), hx[1].unsqueeze(0))
        weights = [self.weight_ih, self.weight_hh]
        if self.bias_ih is not None:
            weights += (self.bias_ih, self.bias_hh)
        h, c = step.lstm_cell(x, h, c, weights, backend=self.backend)
        return (h, c) if batched else (h.squeeze(0), c.squeeze(0))

    def _fits(self, input: Tensor, hx: State | None) -> bool:
        """Whether nn.LSTMCell would find nothing to object to, and there is something to do."""
        shape, dtype = input.shape, self.weight_ih.dtype
        if len(shape) not in (1, 2) or shape[-1] != self.input_size or input.dtype is not dtype:
            return False
        if hx is None:
            return bool(self.hidden_size)
        expected = (*shape[:-1], self.hidden_size or None)
        return len(hx) == 2 and all(s.shape == expected and s.dtype is dtype for s in hx)
