"""Layers as ONNX's own LSTM, for torch.onnx.export(dynamo=True): a graph for any T and B.

torch's exporter takes nn.LSTM's operator apart for the T of its example. T time, B batch, I input,
H hidden, L layers, D directions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fastlstm import inputs

State = tuple[Tensor, Tensor]


def records() -> bool:
    """Whether torch.onnx.export(dynamo=True) traces the call."""
    if not torch.compiler.is_compiling():
        return False
    return torch.compiler.is_exporting() and bool(torch.onnx.is_in_onnx_export())


def layers(
    x: Tensor,
    hx: State,
    weights: Sequence[Tensor],
    lengths: Tensor | None,
    num_layers: int,
    dropout: float,
) -> tuple[Tensor, State]:
    """A stack of layers without projections, a node of each.

    Args:
        x: ``[T, B, I]``.
        hx: h_0 and c_0 ``[L*D, B, H]``.
        weights: as `fastlstm.functional.lstm` has them.
        lengths: ``[B]`` integers from 0 to T, or None: T.
        num_layers: L.
        dropout: probability of zeroing an element between layers.

    Returns:
        ``y [T, B, D*H]``, zero beyond an item's length, and h_n and c_n as h_0 and c_0.
    """
    arity = len(weights) // hx[0].shape[0]
    if arity == 4:
        weights = inputs.broadcast_biases(weights, arity)
    ends = None if lengths is None else lengths.to(x.device, torch.int32)
    begun = zip(hx[0].chunk(num_layers), hx[1].chunk(num_layers), strict=True)
    ended = []
    for layer, own_hx in enumerate(begun):
        if layer > 0:
            x = F.dropout(x, dropout)
        own = weights[layer * len(weights) // num_layers :][: len(weights) // num_layers]
        x, *state = _node(x, *own_hx, own, ends)
        ended.append(state)
    h_n, c_n = (torch.cat(of_layers) for of_layers in zip(*ended, strict=True))
    if lengths is None:
        return x, (h_n, c_n)
    there = (lengths > 0).to(x.device).view(1, -1, 1)  # ONNX says nothing of an item without steps
    return x, (torch.where(there, h_n, hx[0]), torch.where(there, c_n, hx[1]))


def _node(
    x: Tensor, h_0: Tensor, c_0: Tensor, weights: Sequence[Tensor], ends: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """One layer; `ends [B]` int32."""
    directions, batch, hidden_size = h_0.shape
    arity = len(weights) // directions
    weight_ih, weight_hh, *biases = (
        torch.stack([_in_onnx_order(w, hidden_size) for w in weights[n::arity]])
        for n in range(arity)
    )
    both = torch.cat(biases, 1) if biases else None  # [D, 8H]
    y, h_n, c_n = torch.onnx.ops.symbolic_multi_out(
        "LSTM",
        (x, weight_ih, weight_hh, both, ends, h_0, c_0),
        {
            "hidden_size": hidden_size,
            "direction": "bidirectional" if directions == 2 else "forward",
        },
        dtypes=[x.dtype] * 3,
        shapes=[(x.shape[0], directions, batch, hidden_size), h_0.shape, c_0.shape],
    )
    return y.transpose(1, 2).flatten(2), h_n, c_n


def _in_onnx_order(weight: Tensor, hidden_size: int) -> Tensor:
    """Gates i, f, g, o as ONNX has them: i, o, f, g."""
    i, f_and_g, o = weight[:hidden_size], weight[hidden_size:-hidden_size], weight[-hidden_size:]
    return torch.cat((i, o, f_and_g))
