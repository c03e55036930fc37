"""A padded batch whose items end, and start anew, at steps of their own: states in and out.

T steps, B items, S segments, L layers, D directions. A segment is an item's steps from one reset to
the next: see `fastlstm.ragged`, which says where the rows of each lie.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fastlstm import plan
from fastlstm.plan import Plan

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
    if resets is not None:
        _check_resets(resets, x, hx, reset_hx)
    elif reset_hx is not None:
        raise ValueError("reset_hx must come with resets, got reset_hx alone")
    if lengths is not None and not isinstance(lengths, Tensor):
        lengths = torch.tensor(lengths, device="cpu")
    segments = plan.of_padded(x, lengths, resets, batch_first, directions)
    rows = x.flatten(0, 1)
    y, state = _through(layers, rows, segments, hx, reset_hx, cut=resets is not None)
    return y.view(*x.shape[:2], y.shape[1]), state


def run_nested(layers: Layers, x: Tensor, hx: State, *, directions: int) -> tuple[Tensor, State]:
    """The layers on a jagged nested tensor ``[B, j, I]``: y like it, and h_n and c_n."""
    offsets, lengths = x.offsets(), x.lengths()  # type: ignore[attr-defined]
    segments = plan.of_nested(offsets, lengths, directions)
    y, state = _through(layers, x.values(), segments, hx, None, cut=False)
    return torch.nested.nested_tensor_from_jagged(y, offsets, lengths=lengths), state


def _through(
    layers: Layers, rows: Tensor, segments: Plan, hx: State, reset_hx: State | None, cut: bool
) -> tuple[Tensor, State]:
    """The layers on the rows of a batch; `cut`: whether an item may be several segments."""
    given = [
        _of_segments(state, segments, reset, cut)
        for state, reset in zip(hx, reset_hx or (None, None), strict=True)
    ]
    y, states = layers(rows, (given[0], given[1]), segments.batch_sizes, segments.rows)
    h_n, c_n = (_of_items(s, segments, before) for s, before in zip(states, hx, strict=True))
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


def _of_segments(state: Tensor, segments: Plan, reset: Tensor | None, cut: bool) -> Tensor:
    """``[L*D, S, .]``: what each segment starts from."""
    sequence = segments.sequence.to(state.device)
    own = state.index_select(1, sequence)
    if not cut:
        return own
    begins = _of_layers(segments.begins, state)
    after = own.new_zeros(()) if reset is None else reset.index_select(1, sequence)
    return torch.where(begins, own, after)


def _of_items(states: Tensor, segments: Plan, before: Tensor) -> Tensor:
    """``[L*D, B, .]``: the state at the end of each item, `before` of one without steps."""
    ends = _of_layers(segments.ends, states)
    return torch.cat((states, before), 1).gather(1, ends.expand(-1, -1, states.shape[2]))


def _of_layers(of_directions: Tensor, like: Tensor) -> Tensor:
    """``[L*D, ., 1]`` of ``[D, .]``."""
    layers = like.shape[0] // of_directions.shape[0]
    return of_directions.to(like.device).repeat(layers, 1).unsqueeze(2)
