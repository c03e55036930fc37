"""Other people's LSTMs, measured where they are installed.

Each is made from an nn.LSTM into a module with the signature of nn.LSTM's `forward`. What it wants
in another layout is converted once, before any time is taken, where the package lets one do so.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastlstm.bench.case import Case
from fastlstm.bench.onnx_lstm import OnnxRuntime, State


@dataclass(frozen=True)
class Peer:
    """An implementation that is not a dependency.

    packages: what must be installed. device, dtypes: where it runs. one_direction: whether it
    lacks the other. gradients: by nn.LSTM's names, after a backward; None if it only infers.
    """

    name: str
    packages: Sequence[str]
    device: str
    dtypes: Sequence[str]
    one_direction: bool
    make: Callable[[nn.LSTM], nn.Module]
    gradients: Callable[[nn.Module], dict[str, Tensor]] | None

    def missing(self, device: str, dtype: str) -> str | None:
        """What keeps it from being measured here at all."""
        if device != self.device:
            return f"it runs on {self.device}"
        if dtype not in self.dtypes:
            return f"it has no {dtype}"
        absent = [package for package in self.packages if find_spec(package) is None]
        return f"not installed: pip install {' '.join(absent)}" if absent else None

    def why_not(self, case: Case, device: str) -> str | None:
        """What keeps it from running a case."""
        if case.ragged:
            return "it is measured on padded input only"
        if case.bidirectional and self.one_direction:
            return "it has one direction"
        return None


class Haste(nn.Module):
    """haste_pytorch.LSTM (lmnt-com/haste), a layer of it for each of the stack."""

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        haste = import_module("haste_pytorch")
        layers: Any = nn.ModuleList()
        for layer in range(lstm.num_layers):
            size = lstm.input_size if layer == 0 else lstm.hidden_size
            layers.append(haste.LSTM(size, lstm.hidden_size))
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            weights = [getattr(lstm, f"{name}_l{layer}").detach() for name in names]
            layers[-1].from_native_weights(*weights)
        self.layers = layers.cuda()

    def forward(self, x: Tensor, hx: State | None = None) -> tuple[Tensor, State]:
        """As nn.LSTM's, of padded input `[T, B, I]`."""
        states = []
        for index, layer in enumerate(self.layers):
            part = None if hx is None else (hx[0][index, None], hx[1][index, None])
            x, state = layer(x, part)
            states.append(state)
        h_n, c_n = (torch.cat(parts) for parts in zip(*states, strict=True))
        return x, (h_n, c_n)

    def gradients(self) -> dict[str, Tensor]:
        """From haste's `[K, 4H]` and gates i, g, f, o."""

        def native(weight: Tensor) -> Tensor:
            i, g, f, o = weight.chunk(4, dim=-1)
            return torch.cat([i, f, g, o], dim=-1).t()

        found = {}
        layers: Any = self.layers
        for index, layer in enumerate(layers):
            bias = native(layer.bias.grad[None])[:, 0]
            found[f"weight_ih_l{index}"] = native(layer.kernel.grad)
            found[f"weight_hh_l{index}"] = native(layer.recurrent_kernel.grad)
            found |= {f"bias_ih_l{index}": bias, f"bias_hh_l{index}": bias}
        return found


class FlashRNN(nn.Module):
    """flashrnn (Pöppel, Beck and Hochreiter, 2024) with one head, after a GEMM of the input."""

    def __init__(self, lstm: nn.LSTM, backend: str = "cuda_fused") -> None:
        super().__init__()
        self.lstm, self.backend = copy.deepcopy(lstm), backend
        self.call = import_module("flashrnn").flashrnn

    def forward(self, x: Tensor, hx: State | None = None) -> tuple[Tensor, State]:
        """As nn.LSTM's, of padded input `[T, B, I]`."""
        lstm, H, B = self.lstm, self.lstm.hidden_size, x.shape[1]
        if hx is None:
            zeros = x.new_zeros(lstm.num_layers, B, H)
            hx = zeros, zeros
        last = []
        for layer in range(lstm.num_layers):
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            w_ih, w_hh, b_ih, b_hh = (getattr(lstm, f"{name}_l{layer}") for name in names)
            gates = F.linear(x.transpose(0, 1), w_ih).view(B, -1, 4, 1, H)
            states = torch.stack([part[layer] for part in hx]).view(2, B, 1, 1, H)
            outputs, ends = self.call(
                gates,
                w_hh.view(4, 1, H, H),
                (b_ih + b_hh).view(4, 1, H),
                states=states,
                function="lstm",
                backend=self.backend,
                dtype=str(x.dtype).removeprefix("torch."),
            )
            x = outputs[0, :, :, 0].transpose(0, 1)  # from [states, B, T, heads, H]
            last.append(ends[:, :, 0, 0])
        h_n, c_n = (torch.stack([end[index] for end in last]) for index in (0, 1))
        return x, (h_n, c_n)

    def gradients(self) -> dict[str, Tensor]:
        """Its parameters are nn.LSTM's."""
        return {name: p.grad for name, p in self.lstm.named_parameters() if p.grad is not None}


def _gradients(module: nn.Module) -> dict[str, Tensor]:
    assert isinstance(module, (Haste, FlashRNN))
    return module.gradients()


PEERS = (
    Peer("onnxruntime", ("onnxruntime", "onnx"), "cpu", ("float32",), False, OnnxRuntime, None),
    Peer("haste", ("haste_pytorch",), "cuda", ("float32",), True, Haste, _gradients),
    Peer("flashrnn", ("flashrnn",), "cuda", ("bfloat16", "float16"), True, FlashRNN, _gradients),
)
