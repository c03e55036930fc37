"""What is measured: the shape of an LSTM and of its input, and the work in it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from fastlstm import original
from fastlstm.verify_cases import DTYPES

INFERENCE, FORWARD, TRAINING, DECODE = "inference", "forward", "forward+backward", "decode"
PASSES = (INFERENCE, FORWARD, TRAINING)


@dataclass(frozen=True)
class Case:
    """An LSTM and its input `[T, B, I]`; `ragged` packs sequences of T down to T / 8 steps."""

    I: int
    H: int
    layers: int
    B: int
    T: int
    bidirectional: bool = False
    ragged: bool = False
    dtype: str = "float32"

    def __str__(self) -> str:
        text = f"I{self.I} H{self.H} L{self.layers} B{self.B} T{self.T}"
        text += " bi" * self.bidirectional + " ragged" * self.ragged
        return text + f" {self.dtype}" * (self.dtype != "float32")

    @property
    def directions(self) -> int:
        """2 if bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def decodes(self) -> bool:
        """Whether this is one step of one sequence, whose latency is measured."""
        return self.T == self.B == 1

    def lengths(self) -> list[int]:
        """The length of each sequence, falling."""
        if not self.ragged:
            return [self.T] * self.B
        return [int(n) for n in torch.linspace(self.T, max(1, self.T // 8), self.B)]

    def flops(self, which: str) -> int:
        """Floating-point operations of the products of a pass.

        Forward, each step of each sequence, layer and direction: weights `[4H, K + H]` times a
        vector, K what the layer takes. Backward has twice as many: of the inputs, of the weights.
        """
        taken = [self.I] + [self.directions * self.H] * (self.layers - 1)
        step = sum(2 * 4 * self.H * (k + self.H) for k in taken) * self.directions
        return step * sum(self.lengths()) * (3 if which == TRAINING else 1)

    def weight_bytes(self) -> int:
        """Bytes of all weight matrices: what one step must read."""
        one = Case(self.I, self.H, self.layers, 1, 1, self.bidirectional)
        return one.flops(FORWARD) // 2 * int(DTYPES[self.dtype].itemsize)

    def recurrent_bytes(self) -> int:
        """Bytes of weight_hh of one layer and direction: what a step of it must read."""
        return 4 * self.H * self.H * DTYPES[self.dtype].itemsize

    def make_lstm(self, device: str) -> nn.LSTM:
        """The nn.LSTM, with the same weights on every call."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            lstm = original.LSTM(self.I, self.H, self.layers, bidirectional=self.bidirectional)
        return lstm.to(device, DTYPES[self.dtype])

    def make_input(self, device: str, requires_grad: bool) -> torch.Tensor | PackedSequence:
        """The input, the same on every call; packed if ragged."""
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(self.T, self.B, self.I, generator=generator)
        x = x.to(device, DTYPES[self.dtype])
        if not self.ragged:
            return x.requires_grad_(requires_grad)
        packed = pack_padded_sequence(x, self.lengths())
        return packed._replace(data=packed.data.requires_grad_(requires_grad))
