"""The layers of an LSTM module: every form of input, and weights that may be anywhere."""

from __future__ import annotations

import torch

from fastlstm.flat_weights import FlatWeights
from fastlstm.forms import Forms
from fastlstm.kept import KeptPrecision


class Layers(Forms, FlatWeights):
    """`Forms` of a module."""

    # Of a pickle from before there was the argument, or of a class with a constructor of its own.
    backend: str = "auto"
    precision: str | None = None

    def _kept_precision(self) -> str | None:
        """`precision`, with int8 weights that are packed once."""
        if self.precision != "int8" or torch.compiler.is_compiling():
            return self.precision
        if "_kept" not in self.__dict__:
            self._kept = KeptPrecision(self.precision)
        return self._kept

    def extra_repr(self) -> str:
        """What nn.LSTM shows, and what there is beyond it."""
        shown: str = super().extra_repr()
        if self.precision is not None:
            shown += f", precision={self.precision!r}"
        regularization = self.regularization()
        return f"{shown}, {regularization}" if regularization else shown
