"""A stack of layers: one after the other, or in a wavefront of chunks of steps.

A recurrence seldom needs all multiprocessors. So a long sequence is cut into chunks: while a layer
is at chunk k, the one above is at chunk k - 1, on a stream of its own, with the GEMMs around it; in
backward the one below. Results are those of the layers in turn. T steps, N rows, B batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from fastlstm.backends.triton import persistent
from fastlstm.backends.triton.lanes import Lanes
from fastlstm.backends.triton.layer import Layer, Saved
from fastlstm.backends.triton.precision import like_cudnn
from fastlstm.backends.triton.rows import Rows

SHORTEST = 128  # steps of a chunk: launches take longer than fewer
MOST = 8  # chunks


def forward(
    layers: Sequence[Layer],
    outputs: Sequence[Tensor],
    h_0: Tensor,
    c_0: Tensor,
    rows: Rows,
    saved: Sequence[Saved | None],
) -> tuple[Tensor, Tensor]:
    """All layers. `outputs` are x and, to be written, the y of each, ``[N, ...]``.

    Returns ``h_n`` and ``c_n``, like ``h_0`` and ``c_0 [L*D, B, H]``.
    """
    x, (h_n, c_n) = outputs[0], (h_0.new_empty(h_0.shape), c_0.new_empty(c_0.shape))
    chunks = cut(layers, x, rows, backward=False)
    first = [layer.states(h_0, c_0) for layer in layers]  # kept to the end, as a lane may read it
    states = list(first)
    with (
        torch.cuda.device_of(x),  # type: ignore[no-untyped-call]
        like_cudnn(x),
        Lanes(x.device, len(layers), len(chunks)) as lanes,
    ):
        for n, k in wavefront(len(layers), len(chunks)):
            (own, steps), layer, kept = chunks[k], layers[n], saved[n]
            with lanes.on(n):
                lanes.after(n, n - 1, k)
                kept = None if kept is None else kept.rows(own)
                source, y = outputs[n][own], outputs[n + 1][own]
                states[n] = layer.forward(source, states[n], y, steps, kept)
                lanes.done(n, k)
                if k == len(chunks) - 1:
                    for last, state in zip((h_n, c_n), states[n], strict=True):
                        last[layer.own] = state[..., : layer.hidden]
    return h_n, c_n


def backward(
    layers: Sequence[Layer],
    outputs: Sequence[Tensor],
    h_0: Tensor,
    c_0: Tensor,
    rows: Rows,
    saved: Sequence[Saved],
    arriving: tuple[Tensor | None, Tensor, Tensor],
    needs_dx: bool,
    needs_dweights: Sequence[bool],
) -> tuple[Tensor | None, Tensor, Tensor, list[list[Tensor] | None]]:
    """BPTT of `forward`; `arriving` are the gradients of y (None is zero), h_n and c_n.

    Returns those of x ``[N, I]`` (None if not needed), h_0, c_0 and of each layer's weights.
    """
    x, (dy, dh_n, dc_n) = outputs[0], arriving
    dh_0, dc_0 = h_0.new_empty(h_0.shape), c_0.new_empty(c_0.shape)
    chunks = cut(layers, x, rows, backward=True)
    begun = [layer.states(h_0, c_0)[1] for layer in layers]
    last = [layer.states(dh_n, dc_n) for layer in layers]  # kept to the end, as a lane may read it
    states = list(last)
    dys = [t.new_empty(t.shape) if n or needs_dx else None for n, t in enumerate(outputs[:-1])]
    dgates: list[list[Tensor]] = [[] for _ in layers]
    dweights: list[list[Tensor] | None] = [None] * len(layers)
    with (
        torch.cuda.device_of(x),  # type: ignore[no-untyped-call]
        like_cudnn(x),
        Lanes(x.device, len(layers), len(chunks)) as lanes,
    ):
        for back_n, back_k in wavefront(len(layers), len(chunks)):
            n, k = len(layers) - 1 - back_n, len(chunks) - 1 - back_k
            (own, steps), layer, below = chunks[k], layers[n], dys[n]
            with lanes.on(n):
                lanes.after(n, n + 1, k)
                d = dy if n == len(layers) - 1 else dys[n + 1]
                c_prev = begun[n] if k == 0 else _before(saved[n], own, rows.batch)
                made, states[n] = layer.backward(
                    None if d is None else d[own], states[n], c_prev, steps, saved[n].rows(own)
                )
                if below is not None:
                    torch.mm(made, layer.weight_ih, out=below[own])
                lanes.done(n, k)
                dgates[n].insert(0, made)
                if k == 0:
                    for found, state in zip((dh_0, dc_0), states[n], strict=True):
                        found[layer.own] = state[..., : layer.hidden]
                    if needs_dweights[n]:
                        whole = made if len(chunks) == 1 else torch.cat(dgates[n])
                        made_of = outputs[n], h_0[layer.own], outputs[n + 1]
                        dweights[n] = lanes.hand_over(layer.dweights(whole, *made_of, rows))
                    dgates[n].clear()
    return dys[0], dh_0, dc_0, dweights


def wavefront(layers: int, chunks: int) -> Iterator[tuple[int, int]]:
    """Each layer and chunk, what comes before it first: the diagonals of their rectangle."""
    for diagonal in range(layers + chunks - 1):
        for n in range(max(0, diagonal - chunks + 1), min(layers, diagonal + 1)):
            yield n, diagonal - n


def cut(layers: Sequence[Layer], x: Tensor, rows: Rows, backward: bool) -> list[tuple[slice, Rows]]:
    """The rows of each chunk, and what they are of. One chunk where two layers have no room."""
    T, B, first = rows.steps, rows.batch, layers[0]
    count = min(MOST, T // SHORTEST)
    if len(layers) == 1 or first.directions == 2 or rows.ragged or count < 2:
        return [(slice(0, rows.total), rows)]
    if not persistent.fit_beside_each_other(x, first.units, rows, backward):
        return [(slice(0, rows.total), rows)]
    edges = [T * k // count for k in range(count + 1)]
    return [(slice(a * B, b * B), Rows.padded(b - a, B)) for a, b in pairwise(edges)]


def _before(saved: Saved, own: slice, batch: int) -> Tensor:
    """c of the step before some steps, of one direction."""
    return saved.c[own.start - batch : own.start][None]
