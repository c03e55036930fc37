"""The definition of an LSTM, in a page of PyTorch.

T time, B batch, I input, H hidden, L layers, D directions; gates in the order i, f, g, o.
Differentiable to any order, on every device and dtype, under every transform. Every backend is held
against it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fastlstm.noise import NONE, Noise, keep


def lstm(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    batch_sizes: Tensor | None = None,
    num_layers: int = 1,
    rows: Tensor | None = None,
    noise: Noise | None = None,
    trace: bool = False,
) -> tuple[Tensor, ...]:
    """A stack of LSTM layers (Hochreiter & Schmidhuber 1997; Gers et al. 2000).

    Args:
        x: ``[T, B, I]``, or with `batch_sizes` the packed rows ``[N, I]``.
        h_0: ``[L*D, B, H]``, or ``[L*D, B, P]`` with a projection.
        c_0: ``[L*D, B, H]``.
        weights: for each direction of each layer ``weight_ih [4H, I]`` (after the first layer
            ``[4H, D*H]``), ``weight_hh [4H, H]``, perhaps two biases ``[4H]``, and for a
            projection ``weight_hr [P, H]`` (Sak et al. 2014).
        batch_sizes: ``[T]`` int64 on the CPU, as in a `PackedSequence`; None for a padded batch.
        num_layers: L; each layer takes the output of the one before.
        rows: with `batch_sizes`, ``[N]`` int64 on the CPU: packed row n is row rows[n] of
            ``x [R, I]`` and of ``y [R, D*H]``, whose other rows are zero. None: they are the same.
        noise: dropout on h, and zoneout; None: neither.
        trace: whether to return what every unit did at every step, too.

    Returns:
        ``y [T, B, D*H]`` (or ``[N, D*H]``) of the last layer, ``h_n`` and ``c_n``, of the shapes of
        h_0 and c_0. With `trace` also ``c [L, N, D*H]`` and the activated gates ``[L, N, 4, D*H]``
        of packed rows, for a padded batch N = T * B.
    """
    if rows is not None:
        how = h_0, c_0, weights, batch_sizes, num_layers
        return on_rows(x, rows, lambda x: lstm(x, *how, noise=noise, trace=trace))
    arity = len(weights) // num_layers
    h_n, c_n, cells, gates = [], [], [], []
    for layer, (h, c) in enumerate(zip(h_0.chunk(num_layers), c_0.chunk(num_layers), strict=True)):
        own = weights[layer * arity : (layer + 1) * arity]
        x, h, c, found = _layer(x, h, c, own, batch_sizes, noise, layer)
        h_n.append(h)
        c_n.append(c)
        if trace:
            cells.append(_joined(found, lambda of_step: of_step[1]))
            gates.append(_joined(found, lambda of_step: torch.stack(of_step[2:], -2)))
    states = torch.cat(h_n), torch.cat(c_n)
    return (x, *states, torch.stack(cells), torch.stack(gates)) if trace else (x, *states)


def on_rows(
    x: Tensor, rows: Tensor, layers: Callable[[Tensor], tuple[Tensor, ...]]
) -> tuple[Tensor, ...]:
    """`layers` on the packed rows, row rows[n] of x; their y goes to the same rows of zeros."""
    rows = rows.to(x.device)
    y, *others = layers(x.index_select(0, rows))
    return y.new_zeros(x.shape[0], y.shape[1]).index_copy(0, rows, y), *others


# Of each direction, of each step: h, c, i, f, g and o.
_Found = Sequence[Sequence[tuple[Tensor, ...]]]


def _layer(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    batch_sizes: Tensor | None,
    noise: Noise | None,
    layer: int,
) -> tuple[Tensor, Tensor, Tensor, _Found]:
    """One layer, all its directions."""
    directions = h_0.shape[0]
    arity = len(weights) // directions
    steps = x.unbind(0) if batch_sizes is None else torch.split(x, batch_sizes.tolist())
    found, h_n, c_n = zip(
        *(
            _direction(
                steps,
                h_0[d],
                c_0[d],
                weights[d * arity : (d + 1) * arity],
                noise or NONE,
                2 * layer + d,
            )
            for d in range(directions)
        ),
        strict=True,
    )
    y = _joined(found, lambda of_step: of_step[0])
    output = y if batch_sizes is not None else y.view(*x.shape[:-1], y.shape[-1])
    return output, torch.stack(h_n), torch.stack(c_n), found


def _joined(found: _Found, what: Callable[[tuple[Tensor, ...]], Tensor]) -> Tensor:
    """Something of all steps as rows, that of both directions beside each other."""
    steps = zip(*found, strict=True)
    return torch.cat([torch.cat([what(own) for own in of_step], -1) for of_step in steps])


def _direction(
    steps: Sequence[Tensor],
    h: Tensor,
    c: Tensor,
    weights: Sequence[Tensor],
    noise: Noise,
    stream: int,
) -> tuple[list[tuple[Tensor, ...]], Tensor, Tensor]:
    """`stream`: 2 * layer + direction; direction 1 runs from the end to the start."""
    weight_ih, weight_hh, *rest = weights
    biases = [w for w in rest if len(w.shape) == 1]
    bias_ih, bias_hh = biases or (None, None)
    weight_hr = next((w for w in rest if len(w.shape) == 2), None)
    mask = noise.mask(stream, h.shape, h)
    found: list[tuple[Tensor, ...]] = [()] * len(steps)
    for t in range(len(steps)) if stream % 2 == 0 else reversed(range(len(steps))):
        rows = steps[t].shape[0]  # of sequences that reach this step; the others keep their state
        c_prev, h_prev = c[:rows], h[:rows]
        seen = h_prev if mask is None else h_prev * mask[:rows]
        sums = F.linear(steps[t], weight_ih, bias_ih) + F.linear(seen, weight_hh, bias_hh)
        i, f, g, o = sums.chunk(4, -1)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        c_kept, h_kept = noise.keeps(stream, t, c_prev)
        c_t = keep(c_kept, c_prev, f * c_prev + i * g)
        h_t = o * c_t.tanh()
        if weight_hr is not None:
            h_t = F.linear(h_t, weight_hr)
        h_t = keep(h_kept, h_prev, h_t)
        found[t] = h_t, c_t, i, f, g, o
        h, c = torch.cat([h_t, h[rows:]]), torch.cat([c_t, c[rows:]])
    return found, h, c
