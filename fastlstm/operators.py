"""The two operators of a stack of layers whose kernels autograd does not know, and their fakes.

T time, B batch, I input, H hidden, P projection, L layers, D directions. They are opaque to
autograd and to compilers; the name of the backend is a constant of the graph. `weights` holds for
each direction of each layer what nn.LSTM has: ``weight_ih [4H, I]``, ``weight_hh [4H, H]`` and, if
they are there, ``bias_ih [4H]`` and ``bias_hh [4H]``, then ``weight_hr [P, H]`` (with it
``weight_hh [4H, P]``). `lstm_forward` saves ``below [L-1, rows, D*H]``, the output of each layer
but the last, to which noise that drops h adds ``[L, rows, D*H]``, h as the gates saw it; and, with
H rounded up to whole vectors, ``c [L, rows, D*Hp]`` float32 and ``gates [L, rows, D*4*Hp]`` in x's
dtype. All are empty if nothing is saved.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from fastlstm import backends
from fastlstm.backends import Gradients, Outputs
from fastlstm.noise import Noise

torch.library.define(
    "fastlstm::lstm_forward",
    "(Tensor x, Tensor h_0, Tensor c_0, Tensor[] weights, Tensor? batch_sizes, Tensor? rows, "
    'int num_layers, bool save, str backend, str precision="", Tensor? seed=None, '
    "float[]? rates=None) "
    "-> (Tensor y, Tensor h_n, Tensor c_n, Tensor below, Tensor c, Tensor gates)",
)
torch.library.define(
    "fastlstm::lstm_backward",
    "(Tensor? dy, Tensor? dh_n, Tensor? dc_n, Tensor x, Tensor h_0, Tensor c_0, Tensor[] weights, "
    "Tensor? batch_sizes, Tensor? rows, int num_layers, Tensor y, Tensor? below, Tensor c, "
    "Tensor gates, bool needs_dx, bool[] needs_dweights, str backend, Tensor? seed=None, "
    "float[]? rates=None) "
    "-> (Tensor dx, Tensor dh_0, Tensor dc_0, Tensor[] dweights)",
)


def _extras(
    rows: Tensor | None, seed: Tensor | None, rates: Sequence[float] | None, backend: str
) -> dict[str, Any]:
    """The row map and the noise as a backend takes them that knows of such."""
    taker = backends.get(backend)
    extras: dict[str, Any] = {}
    if rows is not None:
        if not taker.takes_rows:
            raise RuntimeError(f"rows must be None for backend={backend!r}: it takes packed rows")
        extras["rows"] = rows
    if rates is not None:
        if not taker.takes_noise:
            raise RuntimeError(f"rates must be None for backend={backend!r}: it has no noise")
        extras["noise"] = as_noise(seed, rates)
    return extras


def as_noise(seed: Tensor | None, rates: Sequence[float]) -> Noise:
    """The noise of an operator's arguments."""
    dropout, zoneout_c, zoneout_h = rates
    return Noise((dropout, zoneout_c, zoneout_h), seed)


def run_forward(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    batch_sizes: Tensor | None,
    rows: Tensor | None,
    num_layers: int,
    save: bool,
    backend: str,
    precision: str = "",
    seed: Tensor | None = None,
    rates: Sequence[float] | None = None,
) -> Outputs:
    """The operator's kernel; what is not saved is None."""
    kernels = backends.get(backend).load()
    extras = {}
    if rows is not None or rates is not None:
        extras = _extras(rows, seed, rates, backend)
    with torch._C._AutoDispatchBelowAutograd():
        return kernels.forward(  # type: ignore[no-any-return]
            x, h_0, c_0, weights, batch_sizes, num_layers, save, precision, **extras
        )


def _forward_as_operator(x: Tensor, *others: Any) -> tuple[Tensor, ...]:
    y, h_n, c_n, below, c, gates = run_forward(x, *others)
    # An operator has no optional results.
    below, gates = (x.new_empty(0) if kept is None else kept for kept in (below, gates))
    c = x.new_empty(0, dtype=torch.float32) if c is None else c
    return y, h_n, c_n, below, c, gates


def run_backward(
    dy: Tensor | None,
    dh_n: Tensor | None,
    dc_n: Tensor | None,
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    batch_sizes: Tensor | None,
    rows: Tensor | None,
    num_layers: int,
    y: Tensor,
    below: Tensor | None,
    c: Tensor,
    gates: Tensor,
    needs_dx: bool,
    needs_dweights: Sequence[bool],
    backend: str,
    seed: Tensor | None = None,
    rates: Sequence[float] | None = None,
) -> Gradients:
    """The operator's kernel; gradients that are not needed are None."""
    kernels = backends.get(backend).load()
    extras = {}
    if rows is not None or rates is not None:
        extras = _extras(rows, seed, rates, backend)
    with torch._C._AutoDispatchBelowAutograd():
        return kernels.backward(  # type: ignore[no-any-return]
            *(dy, dh_n, dc_n, x, h_0, c_0, weights, batch_sizes, num_layers),
            *(y, below, c, gates, needs_dx, needs_dweights),
            **extras,
        )


def _backward_as_operator(
    dy: Tensor | None, *others: Any
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    dx, dh_0, dc_0, dweights = run_backward(dy, *others)
    dx, *given = (dh_0.new_empty(0) if d is None else d for d in (dx, *dweights))
    return dx, dh_0, dc_0, given


@torch.library.register_fake("fastlstm::lstm_forward")  # type: ignore[untyped-decorator]
def _(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    batch_sizes: Tensor | None,
    rows: Tensor | None,
    num_layers: int,
    save: bool,
    backend: str,
    precision: str = "",
    seed: Tensor | None = None,
    rates: Sequence[float] | None = None,
) -> tuple[Tensor, ...]:
    tell_inductor(forward_operator, backward_operator)
    directions = c_0.shape[0] // num_layers
    packed = prod(x.shape[:-1]) if rows is None else rows.shape[0]
    width = directions * backends.padded(c_0.shape[2])
    features = directions * h_0.shape[2]
    y = x.new_empty(*x.shape[:-1], features)
    dropped = rates is not None and as_noise(seed, rates).drops
    kept = num_layers - 1 + num_layers * dropped
    below = x.new_empty((kept, packed, features) if save and kept else (0,))
    c = x.new_empty((num_layers, packed, width) if save else (0,), dtype=torch.float32)
    gates = x.new_empty((num_layers, packed, 4 * width) if save else (0,))
    return y, h_0.new_empty(h_0.shape), c_0.new_empty(c_0.shape), below, c, gates


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
    rows: Tensor | None,
    num_layers: int,
    y: Tensor,
    below: Tensor | None,
    c: Tensor,
    gates: Tensor,
    needs_dx: bool,
    needs_dweights: Sequence[bool],
    backend: str,
    seed: Tensor | None = None,
    rates: Sequence[float] | None = None,
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    dx = x.new_empty(x.shape if needs_dx else (0,))
    arity = len(weights) // num_layers
    dweights = [
        w.new_empty(w.shape if needs_dweights[n // arity] else (0,)) for n, w in enumerate(weights)
    ]
    return dx, h_0.new_empty(h_0.shape), c_0.new_empty(c_0.shape), dweights


torch.library.impl("fastlstm::lstm_forward", ("cpu", "cuda"), _forward_as_operator)
torch.library.impl("fastlstm::lstm_backward", ("cpu", "cuda"), _backward_as_operator)
forward_operator = torch.ops.fastlstm.lstm_forward.default
backward_operator = torch.ops.fastlstm.lstm_backward.default


def tell_inductor(*operators: Any) -> None:
    """That the operators are called as they are, also where it must not guess so."""
    lowering = sys.modules.get("torch._inductor.lowering")
    if lowering is None or not hasattr(lowering, "make_fallback"):
        return
    for operator in operators:
        if operator not in lowering.lowerings:
            lowering.make_fallback(operator, warn=False)
