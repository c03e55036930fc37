"""The two operators of a layer whose kernels autograd does not know, and their fakes.

T time, B batch, I input, H hidden, D directions. They are opaque to autograd and to compilers; the
name of the backend is a constant of the graph. `weights` holds for each direction
``weight_ih [4H, I]``, ``weight_hh [4H, H]`` and, if there is one, ``bias [4H]``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastlstm import backends

torch.library.define(
    "fastlstm::lstm_forward",
    "(Tensor x, Tensor h_0, Tensor c_0, Tensor[] weights, Tensor? batch_sizes, bool save, "
    "str backend) -> (Tensor y, Tensor h_n, Tensor c_n, Tensor c, Tensor gates)",
)
torch.library.define(
    "fastlstm::lstm_backward",
    "(Tensor? dy, Tensor? dh_n, Tensor? dc_n, Tensor x, Tensor h_0, Tensor c_0, Tensor[] weights, "
    "Tensor? batch_sizes, Tensor y, Tensor c, Tensor gates, bool needs_dx, bool needs_dweights, "
    "str backend) -> (Tensor dx, Tensor dh_0, Tensor dc_0, Tensor[] dweights)",
)


@torch.library.impl("fastlstm::lstm_forward", ("cpu", "cuda"))
def _forward(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    batch_sizes: Tensor | None,
    save: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    kernels = backends.get(backend).load()
    with torch._C._AutoDispatchBelowAutograd():
        return kernels.forward(x, h_0, c_0, weights, batch_sizes, save)  # type: ignore[no-any-return]


@torch.library.impl("fastlstm::lstm_backward", ("cpu", "cuda"))
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
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    directions, _, hidden = h_0.shape
    rows = x.numel() // x.shape[-1]
    y = x.new_empty(*x.shape[:-1], directions * hidden)
    c = x.new_empty(*((rows, directions, hidden) if save else (0,)))
    gates = x.new_empty(*((rows, directions, 4 * hidden) if save else (0,)))
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


lstm_forward = torch.ops.fastlstm.lstm_forward.default
lstm_backward = torch.ops.fastlstm.lstm_backward.default
