"""What keeps an LSTM from overfitting: dropout of every kind, and zoneout.

T steps, B sequences, F features of a layer's output, L layers, D directions.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fastlstm.noise import Noise
from fastlstm.original import REGULARIZATION


class Regularized:
    """The layers of an LSTM, or one of them, regularised in more ways than by dropout between."""

    num_layers: int
    bidirectional: bool
    proj_size: int
    dropout: float
    training: bool

    recurrent_dropout: float = 0.0
    zoneout: float | tuple[float, float] = 0.0
    weight_drop: float = 0.0
    locked_dropout: bool = False

    def _set_regularization(
        self,
        recurrent_dropout: float,
        zoneout: float | tuple[float, float],
        weight_drop: float,
        locked_dropout: bool,
    ) -> None:
        pair = zoneout if isinstance(zoneout, tuple) else (zoneout, zoneout)
        rates = {"recurrent_dropout": recurrent_dropout, "weight_drop": weight_drop}
        rates |= {f"zoneout of {state}": rate for state, rate in zip("ch", pair, strict=True)}
        for name, rate in rates.items():
            if isinstance(rate, bool) or not 0 <= rate <= 1:
                raise ValueError(f"{name} must be a probability, from 0 to 1, got {rate!r}")
        if self.proj_size and pair[1]:
            raise ValueError(
                f"zoneout of h must be 0 with proj_size={self.proj_size}, got {zoneout}: give the "
                f"two of c and h, zoneout=({pair[0]}, 0.0)"
            )
        self.recurrent_dropout = recurrent_dropout
        self.zoneout = zoneout if any(pair) else 0.0
        self.weight_drop, self.locked_dropout = weight_drop, locked_dropout

    def _is_regularized(self) -> bool:
        """Whether the layers compute, as they are now, what nn.LSTM's would not."""
        if self._zoneout() != (0, 0):
            return True
        own = self.recurrent_dropout, self.weight_drop, self.locked_dropout and self.dropout
        return self.training and any(own)

    def _check_torch_can(self, what: str) -> None:
        """Raises RuntimeError where torch's operator would not compute what the layers do."""
        if self._is_regularized():
            mode = "training" if self.training else "eval"
            raise RuntimeError(f"an LSTM cannot {what} in {mode} mode with {self.regularization()}")

    def _zoneout(self) -> tuple[float, float]:
        return self.zoneout if isinstance(self.zoneout, tuple) else (self.zoneout, self.zoneout)

    def _noise(self) -> Noise | None:
        """What happens to h and c of the layers of one call."""
        rates = (self.recurrent_dropout if self.training else 0.0, *self._zoneout())
        if not any(rates):
            return None
        if not self.training:
            return Noise(rates)
        return Noise(rates, torch.randint(2**63 - 1, (), device="cpu"))

    def _dropped(self, weights: list[Tensor]) -> list[Tensor]:
        """The weights with elements of weight_hh dropped (DropConnect; Merity et al. 2017)."""
        if not (self.weight_drop and self.training):
            return weights
        arity = len(weights) // (self.num_layers * (1 + self.bidirectional))
        return [
            F.dropout(weight, self.weight_drop) if n % arity == 1 else weight
            for n, weight in enumerate(weights)
        ]

    def _drop_output(self, y: Tensor, batch_sizes: Tensor | None, rows: Tensor | None) -> Tensor:
        """The output of a layer as the next one takes it, ``[T, B, F]`` or rows ``[R, F]``."""
        if not self.locked_dropout:
            return F.dropout(y, self.dropout)
        if batch_sizes is None:
            return y * F.dropout(y.new_ones(y.shape[1:]), self.dropout)
        sizes = batch_sizes.tolist()
        sequence = torch.cat([torch.arange(size, device="cpu") for size in sizes])
        if rows is not None:
            sequence = torch.zeros(y.shape[0], dtype=torch.int64).index_copy(0, rows, sequence)
        return y * self._locked_mask(y, sequence, max(sizes, default=0))

    def _locked_mask(self, y: Tensor, sequence: Tensor, count: int) -> Tensor:
        """``[R, F]``: of rows whose `sequence` ``[R]`` says which of `count` sequences they are."""
        mask = F.dropout(y.new_ones(count, y.shape[1]), self.dropout)
        return mask.index_select(0, sequence.to(y.device))

    def regularization(self) -> str:
        """What of it there is that nn.LSTM has not, as arguments; "" if nothing."""
        given: dict[str, Any] = {name: getattr(self, name) for name in REGULARIZATION}
        return ", ".join(f"{name}={value}" for name, value in given.items() if value)
