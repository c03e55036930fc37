"""The GPU kernels, in Triton: the recurrence of each layer, and the GEMMs around it.

T steps, B batch, I input, H hidden, L layers, D directions, N rows (T * B if padded). Triton itself
is imported when a kernel first runs, and never needed where there is no GPU.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fastlstm.backends import Gradients, Outputs, Problem, padded
from fastlstm.backends.triton import selection
from fastlstm.backends.triton.rows import Rows

if TYPE_CHECKING:
    from fastlstm.backends.triton.layer import Layer

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_INSTALLED = find_spec("triton") is not None

gate_lanes = 1


def why_not(problem: Problem) -> str | None:
    """What keeps the Triton kernels from running `problem`, or None."""
    if problem.device != "cuda" and not (problem.device == "cpu" and interpreted()):
        none = "" if torch.cuda.is_available() else ", and there is no CUDA device here"
        return f"tensors are on {problem.device!r}, it needs 'cuda'{none}"
    if problem.dtype not in DTYPES:
        allowed = "torch.float32, torch.bfloat16 or torch.float16"
        return f"dtype is {problem.dtype}, it needs {allowed}"
    if problem.proj_size:
        return f"proj_size is {problem.proj_size}, it needs 0"
    if not _INSTALLED:
        return "triton is not installed (pip install 'fastlstm[gpu]')"
    return None


def slower(problem: Problem) -> str | None:
    """Why "auto" passes these kernels over for torch's own: it takes what was measured faster."""
    return selection.slower(problem)


def interpreted() -> bool:
    """Whether Triton's interpreter runs the plain kernels on a CPU: TRITON_INTERPRET=1."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def forward(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    batch_sizes: Tensor | None,
    num_layers: int,
    save: bool,
    precision: str = "",
) -> Outputs:
    """See `fastlstm.ops.lstm_forward`; what is not saved is None. `precision` is ignored."""
    from fastlstm.backends.triton import stack
    from fastlstm.backends.triton.layer import Saved

    shape, directions, hidden = x.shape[:-1], c_0.shape[0] // num_layers, c_0.shape[2]
    features, width = directions * hidden, directions * padded(hidden)
    rows, layers = _rows(x, c_0, batch_sizes), _layers(weights, num_layers, directions)
    y = x.new_empty(*shape, features)
    below = c = gates = None
    saved: list[Saved | None] = [None] * num_layers
    if save:
        c = x.new_empty((num_layers, rows.total, width), dtype=torch.float32)
        gates = x.new_empty((num_layers, rows.total, 4 * width))
        saved = list(map(Saved, c, gates))
    if num_layers > 1:
        below = x.new_empty((num_layers - 1, rows.total, features))
    outputs = _outputs(x, below, y, rows)
    h_n, c_n = stack.forward(layers, outputs, h_0, c_0, rows, saved)
    return y, h_n, c_n, below if save else None, c, gates


def backward(
    dy: Tensor | None,
    dh_n: Tensor | None,
    dc_n: Tensor | None,
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    batch_sizes: Tensor | None,
    num_layers: int,
    y: Tensor,
    below: Tensor | None,
    c: Tensor,
    gates: Tensor,
    needs_dx: bool,
    needs_dweights: Sequence[bool],
) -> Gradients:
    """See `fastlstm.ops.lstm_backward`; gradients that are not needed are None."""
    from fastlstm.backends.triton import stack
    from fastlstm.backends.triton.layer import Saved

    rows = _rows(x, c_0, batch_sizes)
    layers = _layers(weights, num_layers, c_0.shape[0] // num_layers)
    arriving = (
        None if dy is None else dy.reshape(rows.total, dy.shape[-1]).contiguous(),
        torch.zeros_like(h_0) if dh_n is None else dh_n,
        torch.zeros_like(c_0) if dc_n is None else dc_n,
    )
    dx, dh_0, dc_0, found = stack.backward(
        *(layers, _outputs(x, below, y, rows), h_0, c_0, rows, list(map(Saved, c, gates))),
        *(arriving, needs_dx, needs_dweights),
    )
    arity, dweights = len(weights) // num_layers, list[Tensor | None]()
    for own in found:
        dweights += [None] * arity if own is None else own
    return None if dx is None else dx.view(x.shape), dh_0, dc_0, dweights


def _outputs(x: Tensor, below: Tensor | None, y: Tensor, rows: Rows) -> list[Tensor]:
    """The input and each layer's output, as rows."""
    ends = [tensor.reshape(rows.total, tensor.shape[-1]) for tensor in (x, y)]
    return [ends[0], *([] if below is None else below), ends[1]]


def _rows(x: Tensor, c_0: Tensor, batch_sizes: Tensor | None) -> Rows:
    if batch_sizes is None:
        return Rows.padded(x.shape[0], c_0.shape[1])
    return Rows.packed(batch_sizes, c_0.shape[1])


def _layers(weights: Sequence[Tensor], num_layers: int, directions: int) -> list[Layer]:
    from fastlstm.backends.triton.layer import Layer

    arity = len(weights) // (num_layers * directions)
    own = [weights[n : n + arity] for n in range(0, len(weights), arity)]
    return [Layer(n, own[n * directions : (n + 1) * directions]) for n in range(num_layers)]
