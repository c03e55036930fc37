"""`Trace`: what every unit did at every step of a call, as its layers report it.

T steps, B batch, L layers, D directions, H hidden, N packed rows, R rows of a buffer.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Trace:
    """Cell states and gates of all layers of a call, and the form they are given in.

    Layers report them for packed rows, ``c [L, N, D*H]`` and ``gates [L, N, 4, D*H]``.
    """

    def __init__(self) -> None:
        self._cells: list[Tensor] = []
        self._gates: list[Tensor] = []
        self._shape: tuple[int, ...] | None = None  # of the rows; None: as they are
        self._batch_first = False
        self._unbatched = False

    def add(self, c: Tensor, gates: Tensor, rows: Tensor | None, room: int) -> None:
        """Takes those of some more layers; with a row map they go to rows of ``R = room``, others
        are zero.
        """
        self._cells.append(_scattered(c, rows, room))
        self._gates.append(_scattered(gates, rows, room))

    def set_form(self, *shape: int, batch_first: bool = False, unbatched: bool = False) -> None:
        """The shape that the rows are of: T and B, or what they are in a buffer.

        Args:
            shape: N is its product.
            batch_first: whether those two are to be exchanged.
            unbatched: whether there is no B in the form wanted.
        """
        self._shape, self._batch_first, self._unbatched = shape, batch_first, unbatched

    def cells(self) -> Tensor:
        """``[L, T, B, D*H]``, or of the form of the call."""
        return self._formed(torch.cat(self._cells))

    def gates(self) -> Tensor:
        """``[L, T, B, 4, D*H]``, or of the form of the call: i, f, g and o."""
        return self._formed(torch.cat(self._gates))

    def _formed(self, found: Tensor) -> Tensor:
        if self._shape is None:
            return found
        found = found.view(found.shape[0], *self._shape, *found.shape[2:])
        if self._unbatched:
            return found.squeeze(2)
        return found.transpose(1, 2) if self._batch_first else found


def _scattered(found: Tensor, rows: Tensor | None, room: int) -> Tensor:
    if rows is None:
        return found
    layers, _, *features = found.shape
    return found.new_zeros(layers, room, *features).index_copy(1, rows.to(found.device), found)
