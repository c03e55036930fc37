"""nn.LSTMCell in a Python loop, the LSTM that one writes by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CellLoop(nn.Module):
    """nn.LSTMCell in a Python loop over the steps, as one writes it by hand."""

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.suffixes = [
            f"_l{layer}{reverse}"
            for layer in range(lstm.num_layers)
            for reverse in ("", "_reverse")[: 2 if lstm.bidirectional else 1]
        ]
        self.hidden_size, self.directions = lstm.hidden_size, 2 if lstm.bidirectional else 1
        for suffix in self.suffixes:
            weight = getattr(lstm, f"weight_ih{suffix}")
            cell = nn.LSTMCell(weight.shape[1], lstm.hidden_size, device=weight.device)
            cell = cell.to(weight.dtype)
            cell.load_state_dict({k: getattr(lstm, k + suffix) for k in cell.state_dict()})
            self.add_module(f"cell{suffix}", cell)

    def forward(
        self, x: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """As nn.LSTM's, of padded input `[T, B, I]`."""
        if hx is None:
            zeros = x.new_zeros(len(self.suffixes), x.shape[1], self.hidden_size)
            hx = zeros, zeros
        last = []
        for layer in range(0, len(self.suffixes), self.directions):
            ys = []
            for index in range(layer, layer + self.directions):
                cell = self.get_submodule(f"cell{self.suffixes[index]}")
                state, steps = (hx[0][index], hx[1][index]), list(x.unbind())
                outputs = []
                for step in reversed(steps) if index > layer else steps:
                    state = cell(step, state)
                    outputs.append(state[0])
                ys.append(torch.stack(outputs[::-1] if index > layer else outputs))
                last.append(state)
            x = torch.cat(ys, dim=2) if self.directions == 2 else ys[0]
        h_n, c_n = (torch.stack(parts) for parts in zip(*last, strict=True))
        return x, (h_n, c_n)

    def gradients(self) -> dict[str, Tensor]:
        """The cells' gradients by nn.LSTM's names."""
        return {
            name + suffix: p.grad
            for suffix in self.suffixes
            for name, p in self.get_submodule(f"cell{suffix}").named_parameters()
            if p.grad is not None
        }
