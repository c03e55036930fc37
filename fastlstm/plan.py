"""Where the segments of a batch begin and end, for its states: an operator to who traces the call.

T steps, B items, S segments, N rows in use, D directions. How many segments, steps and rows there
are depends on what lengths and resets hold. A graph cannot: there they come of an operator, whose
results have sizes that are not known before it ran.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fastlstm import operators, ragged
from fastlstm.ragged import Ragged


class Plan(NamedTuple):
    """A batch's segments, the longest first, as `fastlstm.ragged` has them; on the CPU."""

    batch_sizes: Tensor  # [T'] int64: how many segments have a step t
    rows: Tensor  # [N] int64: the row in the batch of each packed row
    sequence: Tensor  # [S] int64: the item that each segment is of
    begins: Tensor  # [D, S] bool: whether a segment starts from its item's h_0 and c_0
    ends: Tensor  # [D, B] int64: each item's last segment, or S + b where item b has none


def of_padded(
    x: Tensor, lengths: Tensor | None, resets: Tensor | None, batch_first: bool, directions: int
) -> Plan:
    """The segments of a padded batch.

    Args:
        x: ``[T, B, I]`` (or ``[B, T, I]``), of which nothing but T and B are asked.
        lengths: ``[B]`` integers from 0 to T, or None: T.
        resets: ``[T, B]`` (or ``[B, T]``) bool, or None: every item is one segment.
        batch_first: which form x has.
        directions: D.

    Raises:
        ValueError: lengths or resets are not such.
    """
    rest = lengths, resets, batch_first, directions
    return Plan(*_padded_operator(x.detach(), *rest)) if _is_traced() else _of_padded(x, *rest)


def of_nested(offsets: Tensor, lengths: Tensor | None, directions: int) -> Plan:
    """The segments of a jagged nested batch, one of each item.

    Args:
        offsets: ``[B + 1]``: the row of the values where each item begins.
        lengths: ``[B]``: how many rows each item has; None: all to the next.
        directions: D.
    """
    how = offsets, lengths, directions
    return Plan(*_nested_operator(*how)) if _is_traced() else _of_nested(*how)


def batch_of(batch_sizes: Tensor) -> int:
    """B, of a packed batch with `batch_sizes [T]`."""
    return _items_operator(batch_sizes).size(0) if _is_traced() else int(batch_sizes[0])


def _is_traced() -> bool:
    return (
        torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._get_tracing_state() is not None
    )


def _of_padded(
    x: Tensor, lengths: Tensor | None, resets: Tensor | None, batch_first: bool, directions: int
) -> Plan:
    if resets is None:
        assert lengths is not None
        batch, steps = x.shape[:2] if batch_first else (x.shape[1], x.shape[0])
        found = ragged.from_lengths(lengths, steps, batch, batch_first)
        return _plan(found, found.is_first, directions)
    found = ragged.from_resets(resets, lengths, batch_first)
    at_once = resets.select(1 if batch_first else 0, 0).to("cpu")
    return _plan(found, found.is_first & ~at_once[found.sequence], directions)


def _of_nested(offsets: Tensor, lengths: Tensor | None, directions: int) -> Plan:
    offsets = offsets.to("cpu")
    lengths = offsets.diff() if lengths is None else lengths.to("cpu")
    batch = lengths.shape[0]
    steps = max(int(lengths.max()), 1) if batch else 1
    found = ragged.from_lengths(lengths, steps, batch, batch_first=True)
    rows = offsets[found.rows // steps] + found.rows % steps
    return _plan(found._replace(rows=rows), found.is_first, directions)


def _items(batch_sizes: Tensor) -> Tensor:
    """``[B]``: 0 to B - 1. A graph has no other way to a size than a tensor's."""
    return torch.arange(int(batch_sizes[0]), device="cpu")


def _plan(found: Ragged, keeps: Tensor, directions: int) -> Plan:
    """`keeps [S]`: which segments start from h_0 and c_0 going forward.

    The reverse direction comes to the last segment of an item first.
    """
    count, batch = found.sequence.shape[0], found.last.shape[0]
    begins, ends = keeps[None], found.last[None]
    if directions == 2:
        first = torch.full_like(found.last, -1)
        first[found.sequence[found.is_first]] = found.is_first.nonzero()[:, 0]
        is_last = torch.zeros_like(found.is_first)
        is_last[found.last[found.last >= 0]] = True
        begins, ends = torch.stack((keeps, is_last)), torch.stack((found.last, first))
    none = torch.arange(count, count + batch, device="cpu")
    return Plan(*found[:3], begins, torch.where(ends < 0, none, ends))


torch.library.define(
    "fastlstm::plan_padded",
    "(Tensor x, Tensor? lengths, Tensor? resets, bool batch_first, int directions) "
    "-> (Tensor batch_sizes, Tensor rows, Tensor sequence, Tensor begins, Tensor ends)",
)
torch.library.define(
    "fastlstm::plan_nested",
    "(Tensor offsets, Tensor? lengths, int directions) "
    "-> (Tensor batch_sizes, Tensor rows, Tensor sequence, Tensor begins, Tensor ends)",
)
torch.library.define("fastlstm::items", "(Tensor batch_sizes) -> Tensor")
torch.library.impl("fastlstm::plan_padded", ("cpu", "cuda"), _of_padded)
torch.library.impl("fastlstm::plan_nested", ("cpu", "cuda"), _of_nested)
torch.library.impl("fastlstm::items", "cpu", _items)
_padded_operator = torch.ops.fastlstm.plan_padded.default
_nested_operator = torch.ops.fastlstm.plan_nested.default
_items_operator = torch.ops.fastlstm.items.default


def _fake_plan(batch: int, directions: int) -> tuple[Tensor, ...]:
    operators.tell_inductor(_padded_operator, _nested_operator, _items_operator)
    steps, rows, segments = (torch.library.get_ctx().new_dynamic_size() for _ in range(3))
    like = torch.empty(0, dtype=torch.int64, device="cpu")
    return (
        like.new_empty(steps),
        like.new_empty(rows),
        like.new_empty(segments),
        like.new_empty((directions, segments), dtype=torch.bool),
        like.new_empty((directions, batch)),
    )


@torch.library.register_fake("fastlstm::plan_padded")  # type: ignore[untyped-decorator]
def _(
    x: Tensor, lengths: Tensor | None, resets: Tensor | None, batch_first: bool, directions: int
) -> tuple[Tensor, ...]:
    return _fake_plan(x.shape[0 if batch_first else 1], directions)


@torch.library.register_fake("fastlstm::plan_nested")  # type: ignore[untyped-decorator]
def _(offsets: Tensor, lengths: Tensor | None, directions: int) -> tuple[Tensor, ...]:
    return _fake_plan(offsets.shape[0] - 1, directions)


@torch.library.register_fake("fastlstm::items")  # type: ignore[untyped-decorator]
def _(batch_sizes: Tensor) -> Tensor:
    operators.tell_inductor(_items_operator)
    batch = torch.library.get_ctx().new_dynamic_size()
    return torch.empty(batch, dtype=torch.int64, device="cpu")
