"""Sequences of any lengths in a padded batch, as the kernels take them: sizes of steps, a row map.

T steps, B items of the batch, S segments, N rows in use. A *segment* is a run of steps of one item,
the whole of it or what lies between two resets. Segments depend on each other no more than
sequences do: side by side, the longest first, they are a packed batch of S.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Ragged(NamedTuple):
    """A padded batch's segments, the longest first; all int64 or bool, on the CPU.

    For `functional.lstm` on the batch as ``[T*B, I]`` (or ``[B*T, I]``), h_0 and c_0 are of the S
    segments: those of items ``sequence`` where ``is_first``, else zero. Those that come back are
    the items' at ``last``, but where that is -1: an item without steps keeps its h_0 and c_0, and
    its rows of y are zero as all that are in no segment.
    """

    batch_sizes: Tensor  # [T']: how many segments have a step t; one step of none if S is 0
    rows: Tensor  # [N]: the row in the batch of each packed row
    sequence: Tensor  # [S]: the item that each segment is of
    is_first: Tensor  # [S] bool: whether it begins where the item does
    last: Tensor  # [B]: each item's last segment, or -1: it has none


def from_lengths(
    lengths: Tensor | Sequence[int], steps: int, batch: int, batch_first: bool = False
) -> Ragged:
    """Each item as one segment, from step 0 on.

    Args:
        lengths: ``[B]`` integers from 0 to T, in any order.
        steps: T.
        batch: B.
        batch_first: rows are those of ``[B, T, .]``, else of ``[T, B, .]``.

    Raises:
        ValueError: lengths are not such.
    """
    ends, sequence = _checked_lengths(lengths, steps, batch).sort(descending=True, stable=True)
    count = int(ends.count_nonzero())
    ends, sequence = ends[:count], sequence[:count]
    order = torch.arange(max(batch, steps, 1), device="cpu")
    time = order[: int(ends[0]) if count else 1].unsqueeze(1)
    there = time < ends  # [T', S]: few more than the rows in use, as S is at most B
    place = sequence * steps + time if batch_first else time * batch + sequence
    last = torch.full((batch,), -1, dtype=torch.int64, device="cpu")
    last[sequence] = order[:count]
    return Ragged(there.sum(1), place[there], sequence, ends > 0, last)


def from_resets(
    resets: Tensor, lengths: Tensor | Sequence[int] | None = None, batch_first: bool = False
) -> Ragged:
    """Segments of each item that begin at step 0 and at each reset before the item's end.

    A reset at step 0 begins no other segment than is there: `is_first` does not tell.

    Args:
        resets: ``[T, B]`` bool, or with `batch_first` ``[B, T]``: whether the state is reset before
            a step.
        lengths: ``[B]`` integers from 0 to T, in any order; None: all T.
        batch_first: rows are those of ``[B, T, .]``, else of ``[T, B, .]``.

    Raises:
        ValueError: resets or lengths are not such.
    """
    if resets.dim() != 2 or resets.dtype is not torch.bool:
        form = "[B, T]" if batch_first else "[T, B]"
        raise ValueError(f"resets must be bool {form}, got {resets.dtype} {list(resets.shape)}")
    begins = resets.to("cpu", copy=True) if batch_first else resets.to("cpu").t().clone()
    batch, steps = begins.shape
    if lengths is None:
        ends = torch.full((batch,), steps, dtype=torch.int64, device="cpu")
    else:
        ends = _checked_lengths(lengths, steps, batch)
    begins[:, :1] = True
    begins &= torch.arange(steps, device="cpu") < ends.unsqueeze(1)
    items, starts = begins.nonzero().unbind(1)  # of an item one after the other
    until = ends[items]
    same = items[1:] == items[:-1]
    until[:-1] = torch.where(same, starts[1:], until[:-1])
    return _packed(items, starts, until - starts, steps, batch, batch_first)


def _checked_lengths(lengths: Tensor | Sequence[int], steps: int, batch: int) -> Tensor:
    """The lengths, int64 on the CPU."""
    given = lengths if isinstance(lengths, Tensor) else torch.tensor(lengths, device="cpu")
    given = given.to("cpu")
    integers = not (given.is_floating_point() or given.is_complex() or given.dtype is torch.bool)
    if given.shape != (batch,) or not (integers or batch == 0):
        raise ValueError(
            f"lengths must be {batch} integers, one for each item of the batch, got "
            f"{given.dtype} {list(given.shape)}"
        )
    given = given.to(torch.int64)
    if batch and not (given.min() >= 0 and given.max() <= steps):
        raise ValueError(
            f"lengths must be from 0 to {steps}, the steps of the input, got {given.tolist()}"
        )
    return given


def _packed(
    items: Tensor, starts: Tensor, lengths: Tensor, steps: int, batch: int, batch_first: bool
) -> Ragged:
    """Segments ``[S]``, by their items and first steps, as a packed batch.

    S may be as large as T * B: all here takes time and memory of N and S, never of T' * S.
    """
    lengths, order = lengths.sort(descending=True, stable=True)
    sequence, starts = items[order], starts[order]
    # How many are longer than t: all but those that have ended.
    ended = torch.bincount(lengths, minlength=2)[:-1].cumsum(0)
    batch_sizes = lengths.shape[0] - ended
    step = torch.repeat_interleave(batch_sizes)
    first = batch_sizes.cumsum(0) - batch_sizes  # packed row of each step
    segment = torch.arange(step.shape[0], device="cpu") - first[step]
    time = starts[segment] + step
    rows = sequence[segment] * steps + time if batch_first else time * batch + sequence[segment]
    place = torch.empty_like(order)
    place[order] = torch.arange(order.shape[0], device="cpu")
    # An item's last segment is the last that names it here.
    count = torch.bincount(items, minlength=batch)
    last = torch.full((batch,), -1, dtype=torch.int64, device="cpu")
    last[count > 0] = place[(count.cumsum(0) - 1)[count > 0]]
    return Ragged(batch_sizes, rows, sequence, starts == 0, last)
