"""Which rows of a time-major tensor belong to which step: padded batches and packed ones alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """T steps of B sequences. Step t has rows ``starts[t] : starts[t + 1]``, its sequences first.

    A sequence b is one of step t if it is longer than t; longer sequences come first, so these are
    the first of the batch.
    """

    batch: int
    starts: Sequence[int]  # [T + 1]
    ragged: bool

    @staticmethod
    def padded(steps: int, batch: int) -> Rows:
        """All sequences have T steps."""
        starts = range(0, (steps + 1) * batch, batch) if batch else [0] * (steps + 1)
        return Rows(batch, starts, False)

    @staticmethod
    def packed(batch_sizes: Tensor, batch: int) -> Rows:
        """The rows of a `PackedSequence`: `batch_sizes` is ``[T]``, int64 on the CPU."""
        starts = (0, *accumulate(batch_sizes.tolist()))
        return Rows(batch, starts, len(set(batch_sizes.tolist())) > 1)

    @property
    def steps(self) -> int:
        """T, the length of the longest sequence."""
        return len(self.starts) - 1

    @property
    def total(self) -> int:
        """N, the number of all rows."""
        return self.starts[-1]

    def size(self, t: int) -> int:
        """How many sequences have a step t; 0 before the first step and after the last."""
        return self.starts[t + 1] - self.starts[t] if 0 <= t < self.steps else 0

    def order(self, reverse: bool) -> Iterator[tuple[int, int]]:
        """Each step and the one that the recurrence comes from, in the order of the recurrence."""
        step = -1 if reverse else 1
        for t in range(self.steps)[::step]:
            yield t, t - step

    def previous(self, y: Tensor, h_0: Tensor, reverse: bool) -> Tensor:
        """What h each row's step started from: ``[N, H]`` of ``y [N, H]`` and ``h_0 [B, H]``."""
        if not self.ragged:
            parts = (y[self.batch :], h_0) if reverse else (h_0, y[: self.total - self.batch])
            return torch.cat(parts)
        index = torch.empty(self.total, dtype=torch.int64)
        for t, before in self.order(reverse):
            size, known = self.size(t), min(self.size(t), self.size(before))
            rows = index[self.starts[t] : self.starts[t] + size]
            start = self.starts[before] if known else 0
            rows[:known] = torch.arange(start, start + known)
            rows[known:] = torch.arange(self.total + known, self.total + size)
        return torch.cat((y, h_0)).index_select(0, index.to(y.device, non_blocking=True))

    def lengths(self) -> Tensor:
        """How many steps each sequence has, ``[B]``."""
        sizes = torch.tensor(self.starts).diff()
        return (sizes[:, None] > torch.arange(self.batch)).sum(0)

    def last(self, reverse: bool) -> Tensor | None:
        """The row ``[B]`` of the step each sequence begins with; None: they follow each other."""
        if not reverse or not self.ragged:
            return None
        return torch.tensor(self.starts)[self.lengths() - 1] + torch.arange(self.batch)
