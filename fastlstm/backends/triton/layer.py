"""One layer, all its directions: the GEMMs around a recurrence that a kernel runs.

T steps, N rows of all of them, B batch, I input, H hidden, H' padded to whole vectors,
D directions. What x gives the gates is one GEMM before the recurrence, as are dx and the gradients
of the weights after it (Appleyard et al. 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from fastlstm.backends import padded
from fastlstm.backends.triton import packing, persistent, steps
from fastlstm.backends.triton.rows import Rows

States = tuple[Tensor, Tensor]  # of h and c, or their gradients: [D, B, H'], c's in float32


class Saved(NamedTuple):
    """What forward keeps for backward, rows of all steps; H' padded units."""

    c: Tensor  # [N, D*H'], float32
    gates: Tensor  # [N, D*4*H'], activated, those of a unit side by side

    def rows(self, own: slice) -> Saved:
        """Those of some steps."""
        return Saved(self.c[own], self.gates[own])


class Layer:
    """Layer n of a stack: its weights, and as the kernels have them, packed when first needed.

    `weights` are of each direction ``weight_ih [4H, I]``, ``weight_hh [4H, H]`` and perhaps the two
    biases ``[4H]``. `own` are its states among those of all layers.
    """

    def __init__(self, n: int, weights: Sequence[Sequence[Tensor]]) -> None:
        self.weights, self.directions = weights, len(weights)
        self.own = slice(n * self.directions, (n + 1) * self.directions)
        self.hidden, self.inputs = weights[0][1].shape[1], weights[0][0].shape[1]
        self.units = padded(self.hidden)

    @cached_property
    def weight_ih(self) -> Tensor:
        """``[D*4*H', I]``."""
        of_input = packing.pack([own[0] for own in self.weights], self.units, self.inputs)
        return of_input.flatten(0, 1)

    @cached_property
    def weight_hh(self) -> Tensor:
        """``[D, 4*H', H']``."""
        return packing.pack([own[1] for own in self.weights], self.units, self.units)

    @cached_property
    def bias(self) -> Tensor | None:
        """``[D*4*H']``."""
        return packing.pack_bias(self.weights, self.units)

    def states(self, h: Tensor, c: Tensor) -> States:
        """Its states, of ``[L*D, B, H]``, as the recurrence has them."""
        h, c = h[self.own], c[self.own].float()
        return packing.padded_units(h, self.units), packing.padded_units(c, self.units)

    def forward(
        self, x: Tensor, states: States, y: Tensor, rows: Rows, saved: Saved | None
    ) -> States:
        """From x ``[N, I]``; writes ``y [N, D*H]`` and what is saved, returns the last states."""
        total = x.shape[0]
        gates = x.new_empty(total, self.weight_ih.shape[0]) if saved is None else saved.gates
        if self.bias is None:
            torch.mm(x, self.weight_ih.t(), out=gates)
        else:
            torch.addmm(self.bias, x, self.weight_ih.t(), out=gates)
        shape = total, self.directions, self.units
        c = x.new_empty(0, dtype=torch.float32) if saved is None else saved.c.view(shape)
        how = persistent.plan_for(x, self.units, rows, self.directions, backward=False)
        return (steps if how is None else persistent.Kernels(how)).forward(
            gates.view(*shape, 4),
            self.weight_hh,
            *states,
            y.view(total, self.directions, self.hidden),
            c,
            rows,
        )

    def backward(
        self, dy: Tensor | None, arriving: States, c_0: Tensor, rows: Rows, saved: Saved
    ) -> tuple[Tensor, States]:
        """BPTT: ``dgates [N, D*4*H']`` and the gradients of the first states.

        `arriving` are those of the last states, ``c_0 [D, B, H']`` is float32; dy None is zero.
        """
        total = saved.c.shape[0]
        shape, dgates = (total, self.directions, self.units), torch.empty_like(saved.gates)
        how = persistent.plan_for(saved.gates, self.units, rows, self.directions, backward=True)
        states = (steps if how is None else persistent.Kernels(how)).backward(
            saved.gates.view(*shape, 4),
            dgates.view(*shape, 4),
            self.weight_hh,
            saved.c.view(shape),
            c_0,
            None if dy is None else dy.view(total, self.directions, self.hidden),
            *arriving,
            rows,
        )
        return dgates, states

    def dweights(
        self, dgates: Tensor, x: Tensor, h_0: Tensor, y: Tensor, rows: Rows
    ) -> list[Tensor]:
        """The gradients of the weights of each direction, as nn.LSTM has them."""
        of_input = (dgates.t() @ x).view(self.directions, -1, self.inputs)
        of_bias = dgates.sum(0).view(self.directions, -1, 1)
        outputs = y.view(-1, self.directions, self.hidden)
        found: list[Tensor] = []
        for d, own in enumerate(self.weights):
            h_prev = rows.previous(outputs[:, d], h_0[d], reverse=d == 1)
            of_hidden = dgates.view(x.shape[0], self.directions, 4 * self.units)[:, d].t() @ h_prev
            found.append(packing.unpack(of_input[d], self.hidden, self.inputs))
            found.append(packing.unpack(of_hidden, self.hidden, self.hidden))
            if len(own) >= 4:
                bias = packing.unpack(of_bias[d], self.hidden, 1).view(-1)
                found += [bias, bias.clone()]  # of both: they are only ever added
        return found
