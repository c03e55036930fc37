"""One layer, all its directions: the GEMMs around a recurrence that a kernel runs.

T steps, N rows of all of them, B batch, I input, H hidden, H' padded to whole vectors,
D directions. What x gives the gates is one GEMM before the recurrence, as are dx and the gradients
of the weights after it (Appleyard et al. 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fastlstm.backends import padded
from fastlstm.backends.triton import packing, persistent, steps
from fastlstm.backends.triton.precision import like_cudnn
from fastlstm.backends.triton.rows import Rows

Weights = Sequence[Sequence[Tensor]]  # of each direction: weight_ih, weight_hh, perhaps the biases


class Saved(NamedTuple):
    """What forward keeps for backward, rows of all steps; H' padded units."""

    c: Tensor  # [N, D*H'], float32
    gates: Tensor  # [N, D*4*H'], activated, those of a unit side by side


def forward(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Weights,
    y: Tensor,
    rows: Rows,
    saved: Saved | None,
) -> tuple[Tensor, Tensor]:
    """One layer; writes ``y [N, D*H]`` and what is saved, returns ``h_n`` and ``c_n [D, B, H]``."""
    directions, _, hidden = c_0.shape
    H, total = padded(hidden), x.shape[0]
    shape = (total, directions, H)
    weight_ih = packing.pack([own[0] for own in weights], H, x.shape[1]).flatten(0, 1)
    weight_hh = packing.pack([own[1] for own in weights], H, H)
    bias = packing.pack_bias(weights, H)
    gates = x.new_empty(total, directions * 4 * H) if saved is None else saved.gates
    with torch.cuda.device_of(x), like_cudnn(x):  # type: ignore[no-untyped-call]
        if bias is None:
            torch.mm(x, weight_ih.t(), out=gates)
        else:
            torch.addmm(bias, x, weight_ih.t(), out=gates)
        c = x.new_empty(0, dtype=torch.float32) if saved is None else saved.c.view(shape)
        how = persistent.plan_for(x, H, rows, directions, backward=False)
        h_n, c_n = (steps if how is None else persistent.Kernels(how)).forward(
            gates.view(*shape, 4),
            weight_hh,
            packing.padded_units(h_0, H),
            packing.padded_units(c_0.float(), H),
            y.view(total, directions, hidden),
            c,
            rows,
        )
    return h_n[..., :hidden].contiguous(), c_n[..., :hidden].to(c_0.dtype).contiguous()


class Gradients(NamedTuple):
    """What backward returns; None: not wanted."""

    dx: Tensor | None  # [N, I]
    dh_0: Tensor  # [D, B, H]
    dc_0: Tensor
    dweights: list[Tensor] | None  # of each direction, as the weights


def backward(
    dy: Tensor | None,
    dh_n: Tensor,
    dc_n: Tensor,
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Weights,
    y: Tensor,
    rows: Rows,
    saved: Saved,
    needs_dx: bool,
    needs_dweights: bool,
) -> Gradients:
    """BPTT of one layer, shapes as in `forward`; dy None is zero."""
    directions, _, hidden = c_0.shape
    H, total = padded(hidden), x.shape[0]
    shape = (total, directions, H)
    weight_ih = packing.pack([own[0] for own in weights], H, x.shape[1]).flatten(0, 1)
    weight_hh = packing.pack([own[1] for own in weights], H, H)
    dgates = torch.empty_like(saved.gates)
    with torch.cuda.device_of(x), like_cudnn(x):  # type: ignore[no-untyped-call]
        how = persistent.plan_for(x, H, rows, directions, backward=True)
        dh_0, dc_0 = (steps if how is None else persistent.Kernels(how)).backward(
            saved.gates.view(*shape, 4),
            dgates.view(*shape, 4),
            weight_hh,
            saved.c.view(shape),
            packing.padded_units(c_0.float(), H),
            None if dy is None else dy.view(total, directions, hidden),
            packing.padded_units(dh_n, H),
            packing.padded_units(dc_n.float(), H),
            rows,
        )
        dx = dgates @ weight_ih if needs_dx else None
        dweights = _dweights(dgates, x, h_0, weights, y, rows) if needs_dweights else None
    dh_0, dc_0 = dh_0[..., :hidden], dc_0[..., :hidden].to(c_0.dtype)
    return Gradients(dx, dh_0.contiguous(), dc_0.contiguous(), dweights)


def _dweights(
    dgates: Tensor, x: Tensor, h_0: Tensor, weights: Weights, y: Tensor, rows: Rows
) -> list[Tensor]:
    """The gradients of the weights of each direction, as nn.LSTM has them."""
    directions, _, hidden = h_0.shape
    of_input = (dgates.t() @ x).view(directions, -1, x.shape[1])
    of_bias = dgates.sum(0).view(directions, -1, 1)
    found: list[Tensor] = []
    for d, own in enumerate(weights):
        gates = own[0].shape[0]
        h_prev = rows.previous(y.view(-1, directions, hidden)[:, d], h_0[d], reverse=d == 1)
        of_hidden = dgates.view(x.shape[0], directions, -1)[:, d].t() @ h_prev
        gradients = [
            packing.unpack(of_input[d], gates, x.shape[1]),
            packing.unpack(of_hidden, gates, hidden),
        ]
        if len(own) >= 4:
            bias = packing.unpack(of_bias[d], gates, 1).view(gates)
            gradients += [bias, bias.clone()]  # of both: they are only ever added
        found += gradients
    return found
