"""Noise inside the recurrence, against overfitting: dropout on h, and zoneout.

Each number is drawn from a counter of its own, of a seed, the layer and direction, the step, the
sequence and the unit: so forward and backward, kernels and the reference draw the same, and nothing
is kept in memory but the seed. The generator is Philox 4x32 of 7 rounds (Salmon et al. 2011).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Rates = tuple[float, float, float]

_ALL_STEPS = 0xFFFFFFFF
_WORD = 0xFFFFFFFF


class Noise(NamedTuple):
    """What happens to h and c on their way from step to step.

    rates: the probabilities of three things. Dropout on h: the gates see h_{t-1} times a mask of 0
        and 1 / (1 - p), of each sequence, layer and direction, the same at all its steps (Gal &
        Ghahramani 2016). Zoneout of c, and of h: a unit keeps that of the step before (Krueger et
        al. 2017).
    seed: ``[]`` int64 on the CPU; or None: zoneout is by its expectation, and nothing is dropped.
    """

    rates: Rates
    seed: Tensor | None = None

    @property
    def drops(self) -> bool:
        """Whether h is dropped."""
        return self.seed is not None and self.rates[0] > 0

    def mask(self, stream: int, shape: Sequence[int], like: Tensor) -> Tensor | None:
        """What h ``[B, O]`` of a direction is multiplied with before the gates see it, or None."""
        if not self.drops:
            return None
        p = self.rates[0]
        numbers, _ = self._draw(stream, _ALL_STEPS, shape, like.device)
        return (numbers >= _threshold(p)).to(like.dtype) * (1 / (1 - p) if p < 1 else 0)

    def keeps(self, stream: int, t: int, like: Tensor) -> tuple[Tensor | float, Tensor | float]:
        """For `keep`: which units keep their c, and their h, at step t. `like` is ``[B, H]``."""
        _, of_c, of_h = self.rates
        if self.seed is None or not (of_c or of_h):
            return of_c, of_h
        numbers_c, numbers_h = self._draw(stream, t, like.shape, like.device)
        return (
            numbers_c < _threshold(of_c) if of_c else 0.0,
            numbers_h < _threshold(of_h) if of_h else 0.0,
        )

    def _draw(
        self, stream: int, t: int, shape: Sequence[int], device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """Two numbers from 0 to 2^24 - 1 for each of ``[B, H]``; `stream` is 2 * layer + d."""
        assert self.seed is not None
        rows = torch.arange(shape[0], device=device).unsqueeze(1)
        units = torch.arange(shape[1], device=device)
        seed = self.seed.to(device)
        counter = (units.expand(*shape), rows.expand(*shape), t, stream)
        first, second, *_ = _philox(counter, seed & _WORD, (seed >> 32) & _WORD)
        return first >> 8, second >> 8


NONE = Noise((0.0, 0.0, 0.0))


def keep(kept: Tensor | float, before: Tensor, now: Tensor) -> Tensor:
    """The state `before` where a unit keeps it; or for a probability the expectation."""
    if isinstance(kept, Tensor):
        return torch.where(kept, before, now)
    return kept * before + (1 - kept) * now if kept else now


def _threshold(probability: float) -> int:
    """A number of 24 bits is below it with this probability."""
    return int(probability * 2**24)


def _philox(counter: tuple[Tensor | int, ...], k0: Tensor, k1: Tensor) -> tuple[Tensor, ...]:
    """Four words of 32 bits, in int64."""
    c0, c1, c2, c3 = counter
    for _ in range(7):
        high0, low0 = _multiply(0xD2511F53, c0)
        high1, low1 = _multiply(0xCD9E8D57, c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) & _WORD, (k1 + 0xBB67AE85) & _WORD
    return c0, c1, c2, c3  # type: ignore[return-value]


def _multiply(by: int, word: Tensor | int) -> tuple[Tensor | int, Tensor | int]:
    """The halves of a 64-bit product, which int64 cannot hold: half a word at a time."""
    low, high = by * (word & 0xFFFF), by * (word >> 16)
    middle = high + (low >> 16)
    return middle >> 16, ((middle & 0xFFFF) << 16) | (low & 0xFFFF)
