"""The two operators of a layer whose kernels autograd does not know, and their fakes.

T time, B batch, I input, H hidden, P projection, D directions. They are opaque to autograd and to
compilers; the name of the backend is a constant of the graph. `weights` holds for each direction
what nn.LSTM has: ``weight_ih [4H, I]``, ``weight_hh [4H, H]`` and, if they are there, ``bias_ih
[4H]`` and ``bias_hh [4H]``, then ``weight_hr [P, H]`` (with it ``weight_hh [4H, P]``). What
`lstm_forward` saves has H rounded up to whole vectors: ``c [rows, D, Hp]`` float32 and ``gates
[rows, D, 4*Hp]`` in x's dtype; both are empty if nothing is saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from fastlstm import backends, eager

torch.library.define(
    "fastlstm::lstm_forward",
    "(Tensor x, Tensor h_0, Tensor c_0, Tensor[] weights, Tensor? batch_sizes, bool save, "
    'str backend, str precision="") -> (Tensor y, Tensor h_n, Tensor c_n, Tensor c, Tensor gates)',
)
torch.library.define(
    "fastlstm::lstm_backward",
    "(Tensor? dy, Tensor? dh_n, Tensor? dc_n, Tensor x, Tensor h_0, Tensor c_0, Tensor[] weights, "
    "Tensor? batch_sizes, Tensor y, Tensor c, Tensor gates, bool needs_dx, bool needs_dweights, "
    "str backend) -> (Tensor dx, Tensor dh_0, Tensor dc_0, Tensor[] dweights)",
)


def _forward(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    batch_sizes: Tensor | None,
    save: bool,
    backend: str,
    precision: str = "",
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    kernels = backends.get(backend).load()
    with torch._C._AutoDispatchBelowAutograd():
        return kernels.forward(  # type: ignore[no-any-return]
            x, h_0, c_0, weights, batch_sizes, save, precision
        )


def _forward_as_operator(x: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    y, h_n, c_n, c, gates = _forward(x, *others)
    if c is None or gates is None:  # an operator has no optional results
        c, gates = x.new_empty(0, dtype=torch.float32), x.new_empty(0)
    return y, h_n, c_n, c, gates


def _backward(
    dy: Tensor | None,
    dh_n: Tensor | None,
    dc_n: Tensor | None,
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    batch_sizes: Tensor | None,
    y: Tensor,
    c: Tensor,
    gates: Tensor,
    needs_dx: bool,
    needs_dweights: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    kernels = backends.get(backend).load()
    with torch._C._AutoDispatchBelowAutograd():
        return kernels.backward(  # type: ignore[no-any-return]
            dy, dh_n, dc_n, x, h_0, c_0, weights, batch_sizes, y, c, gates, needs_dx, needs_dweights
        )


@torch.library.register_fake("fastlstm::lstm_forward")  # type: ignore[untyped-decorator]
def _(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    batch_sizes: Tensor | None,
    save: bool,
    backend: str,
    precision: str = "",
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    directions, _, hidden = c_0.shape
    rows = prod(x.shape[:-1])
    width = backends.padded(hidden)
    y = x.new_empty(*x.shape[:-1], directions * h_0.shape[2])
    c = x.new_empty(*((rows, directions, width) if save else (0,)), dtype=torch.float32)
    gates = x.new_empty(*((rows, directions, 4 * width) if save else (0,)))
    return y, h_0.new_empty(h_0.shape), c_0.new_empty(c_0.shape), c, gates


@torch.library.register_fake("fastlstm::lstm_backward")  # type: ignore[untyped-decorator]
def _(
    dy: Tensor | None,
    dh_n: Tensor | None,
    dc_n: Tensor | None,
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    batch_sizes: Tensor | None,
    y: Tensor,
    c: Tensor,
    gates: Tensor,
    needs_dx: bool,
    needs_dweights: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    dx = x.new_empty(x.shape if needs_dx else (0,))
    dweights = [w.new_empty(w.shape if needs_dweights else (0,)) for w in weights]
    return dx, h_0.new_empty(h_0.shape), c_0.new_empty(c_0.shape), dweights


torch.library.impl("fastlstm::lstm_forward", ("cpu", "cuda"), _forward_as_operator)
torch.library.impl("fastlstm::lstm_backward", ("cpu", "cuda"), _backward)
_forward_operator = torch.ops.fastlstm.lstm_forward.default
_backward_operator = torch.ops.fastlstm.lstm_backward.default


def lstm_forward(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    batch_sizes: Tensor | None,
    save: bool,
    backend: str,
    precision: str = "",
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """The operator `fastlstm.lstm_forward`, or at once its kernel where nothing else would see it.

    Args:
        x: ``[T, B, I]``; with `batch_sizes` packed rows ``[N, I]``.
        h_0: ``[D, B, H]``, or ``[D, B, P]`` with a projection.
        c_0: ``[D, B, H]``.
        weights: those of each direction, as above.
        batch_sizes: ``[T]`` int64 on the CPU, or None for a padded batch.
        save: whether to return what `lstm_backward` needs.
        backend: the name of a backend with kernels.
        precision: "", or "bf16": weights and h are held in bfloat16 where the backend can; ignored
            if anything is saved.

    Returns:
        ``y [T, B, D*H]`` (or ``[N, D*H]``; P for H with a projection), ``h_n``, ``c_n``, ``c`` and
        ``gates``, which may be None if nothing is saved.
    """
    plain = eager.is_plain((x, h_0, c_0, batch_sizes, *weights))
    call = _forward if plain else _forward_operator
    return call(x, h_0, c_0, weights, batch_sizes, save, backend, precision)


def lstm_backward(
    dy: Tensor | None,
    dh_n: Tensor | None,
    dc_n: Tensor | None,
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    batch_sizes: Tensor | None,
    y: Tensor,
    c: Tensor,
    gates: Tensor,
    needs_dx: bool,
    needs_dweights: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """The operator `fastlstm.lstm_backward`, or at once its kernel, as `lstm_forward`.

    Returns ``dx``, ``dh_0``, ``dc_0`` and a gradient for each of `weights`; dx and those of the
    weights are empty where they are not needed. A gradient that arrives as None is zero.
    """
    plain = eager.is_plain((dy, dh_n, dc_n, x, h_0, c_0, batch_sizes, y, c, gates, *weights))
    call = _backward if plain else _backward_operator
    needs = needs_dx, needs_dweights
    return call(dy, dh_n, dc_n, x, h_0, c_0, weights, batch_sizes, y, c, gates, *needs, backend)
