"""A module's layers one after the other, with dropout between them, on time-major tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from fastlstm import functional, onnx_node
from fastlstm.regularization import Regularized
from fastlstm.trace import Trace

State = tuple[Tensor, Tensor]


class Stacked(Regularized):
    """The layers of an LSTM, of a module or of whatever else has nn.LSTM's attributes."""

    backend: str
    precision: str | None

    def _kept_precision(self) -> str | None:
        """`precision`, for the weights of all layers together."""
        return self.precision

    def _layers(
        self,
        x: Tensor,
        hx: State,
        batch_sizes: Tensor | None,
        weights: list[Tensor],
        rows: Tensor | None = None,
        trace: Trace | None = None,
    ) -> tuple[Tensor, State]:
        if onnx_node.records():  # of which no batch is packed: these are lengths
            dropout = self.dropout if self.training else 0.0
            return onnx_node.layers(x, hx, weights, batch_sizes, self.num_layers, dropout)
        weights = self._dropped(weights)
        if self.dropout == 0 or not self.training or self.num_layers == 1:
            x, h_n, c_n = self._stack(x, *hx, weights, batch_sizes, rows, self.num_layers, trace)
            return x, (h_n, c_n)
        arity = len(weights) // self.num_layers
        states = zip(hx[0].chunk(self.num_layers), hx[1].chunk(self.num_layers), strict=True)
        h, c = [], []
        for layer, (h_0, c_0) in enumerate(states):
            if layer > 0:
                x = self._drop_output(x, batch_sizes, rows)
            own = weights[layer * arity : (layer + 1) * arity]
            x, h_n, c_n = self._stack(x, h_0, c_0, own, batch_sizes, rows, 1, trace)
            h.append(h_n)
            c.append(c_n)
        return x, (torch.cat(h), torch.cat(c))

    def _stack(
        self,
        x: Tensor,
        h_0: Tensor,
        c_0: Tensor,
        weights: list[Tensor],
        batch_sizes: Tensor | None,
        rows: Tensor | None,
        num_layers: int,
        trace: Trace | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Layers without dropout between them."""
        noise, backend = self._noise(), self.backend
        given = x, h_0, c_0, weights, batch_sizes, rows
        if trace is None:
            precision = self._kept_precision() if num_layers == self.num_layers else self.precision
            return functional.lstm(
                *given, num_layers=num_layers, backend=backend, precision=precision, noise=noise
            )
        y, h_n, c_n, c, gates = functional.lstm_and_trace(
            *given, num_layers=num_layers, backend=backend, noise=noise
        )
        trace.add(c, gates, rows, x.shape[0])
        return y, h_n, c_n
