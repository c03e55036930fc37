"""A padded batch whose items end, and start anew, at steps of their own: states in and out.

T steps, B items, S segments, L layers, D directions. A segment is an item's steps from one reset to
the next: see `fastlstm.ragged`, which says where the rows of each lie.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fastlstm import ragged
from fastlstm.ragged import Ragged

State = tuple[Tensor, Tensor]
# On rows, the states of segments, sizes of steps and a row map: y and the states of segments.
Layers = Callable[[Tensor, State, Tensor, Tensor], tuple[Tensor, State]]


def run(
    layers: Layers,
    x: Tensor,
    hx: State,
    lengths: Tensor | Sequence[int] | None,
    resets: Tensor | None,
    reset_hx: State | None,
    *,
    directions: int,
    batch_first: bool,
) -> tuple[Tensor, State]:
    """The layers on a batch ``[T, B, I]``, or ``[B, T, I]``: y of the same form, and h_n and c_n.

    Args:
        layers: runs rows of x.
        x: the batch; what lies beyond an item's length is not read.
        hx: h_0 and c_0 ``[L*D, B, .]``, where each item begins.
        lengths: ``[B]``, or None: T.
        resets: ``[T, B]`` (or ``[B, T]``) bool, or None.
        reset_hx: the states ``[L*D, B, .]`` after a reset; None: zero.
        directions: D.
        batch_first: which form x has.

    Raises:
        ValueError: lengths, resets or reset_hx are not such.
    """
    batch, steps = (x.shape[0], x.shape[1]) if batch_first else (x.shape[1], x.shape[0])
    if resets is None:
        if reset_hx is not None:
            raise ValueError("reset_hx must come with resets, got reset_hx alone")
        assert lengths is not None
        plan = ragged.from_lengths(lengths, steps, batch, batch_first)
        keeps = plan.is_first
    else:
        _check_resets(resets, x, hx, reset_hx)
        plan = ragged.from_resets(resets, lengths, batch_first)
        at_once = resets.select(1 if batch_first else 0, 0).to("cpu")
        keeps = plan.is_first & ~at_once[plan.sequence]
    rows = x.reshape(steps * batch, x.shape[2])
    y, state = _through(layers, rows, plan, keeps, hx, reset_hx, directions)
    return y.view(*x.shape[:2], y.shape[1]), state


def run_nested(layers: Layers, x: Tensor, hx: State, *, directions: int) -> tuple[Tensor, State]:
    """The layers on a jagged nested tensor ``[B, j, I]``: y like it, and h_n and c_n."""
    offsets, given = x.offsets(), x.lengths()  # type: ignore[attr-defined]
    lengths = (offsets.diff() if given is None else given).to("cpu")
    steps = max(int(lengths.max()), 1) if lengths.shape[0] else 1
    plan = ragged.from_lengths(lengths, steps, lengths.shape[0], batch_first=True)
    rows = offsets.to("cpu")[plan.rows // steps] + plan.rows % steps
    plan = plan._replace(rows=rows)
    y, state = _through(layers, x.values(), plan, plan.is_first, hx, None, directions)
    return torch.nested.nested_tensor_from_jagged(y, offsets, lengths=given), state


def _through(
    layers: Layers,
    rows: Tensor,
    plan: Ragged,
    keeps: Tensor,
    hx: State,
    reset_hx: State | None,
    directions: int,
) -> tuple[Tensor, State]:
    """The layers on the rows of a batch; `keeps`: which segments start from h_0 and c_0."""
    begins, ends = _ends(plan, keeps, directions)
    given = [
        _of_segments(state, plan, begins, reset)
        for state, reset in zip(hx, reset_hx or (None, None), strict=True)
    ]
    y, states = layers(rows, (given[0], given[1]), plan.batch_sizes, plan.rows)
    h_n, c_n = (_of_items(s, ends, before) for s, before in zip(states, hx, strict=True))
    return y, (h_n, c_n)


def _check_resets(resets: Tensor, x: Tensor, hx: State, reset_hx: State | None) -> None:
    if resets.shape != x.shape[:2]:
        raise ValueError(
            f"resets must have shape {list(x.shape[:2])}, one for each step of the input, got "
            f"{list(resets.shape)}"
        )
    for name, state, like in zip("hc", reset_hx or (), hx, strict=False):
        if state.shape != like.shape:
            raise ValueError(
                f"reset_hx: {name} must have shape {list(like.shape)}, got {list(state.shape)}"
            )


def _ends(plan: Ragged, keeps: Tensor, directions: int) -> tuple[Tensor, Tensor]:
    """By direction: whether a segment starts from h_0 ``[D, S]``, and each item's last ``[D, B]``.

    Forward, `keeps` says it. The reverse direction comes to the last segment first. -1: none.
    """
    if directions == 1:
        return keeps[None], plan.last[None]
    segments = torch.arange(plan.sequence.shape[0], device="cpu")
    first = torch.full_like(plan.last, -1)
    first[plan.sequence[plan.is_first]] = segments[plan.is_first]
    is_last = torch.zeros_like(plan.is_first)
    is_last[plan.last[plan.last >= 0]] = True
    return torch.stack((keeps, is_last)), torch.stack((plan.last, first))


def _of_segments(state: Tensor, plan: Ragged, begins: Tensor, reset: Tensor | None) -> Tensor:
    """``[L*D, S, .]``: what each segment starts from."""
    sequence = plan.sequence.to(state.device)
    own = state.index_select(1, sequence)
    if bool(begins.all()):
        return own
    begins = begins.to(state.device).repeat(state.shape[0] // begins.shape[0], 1).unsqueeze(2)
    after = own.new_zeros(()) if reset is None else reset.index_select(1, sequence)
    return torch.where(begins, own, after)


def _of_items(states: Tensor, ends: Tensor, before: Tensor) -> Tensor:
    """``[L*D, B, .]``: the state at the end of each item, `before` of one without steps."""
    if states.shape[1] == 0:
        return before.clone()
    ends = ends.to(states.device).repeat(states.shape[0] // ends.shape[0], 1).unsqueeze(2)
    found = states.gather(1, ends.clamp(min=0).expand(-1, -1, states.shape[2]))
    return torch.where(ends < 0, before, found)
