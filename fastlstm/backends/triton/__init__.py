"""The GPU kernels, in Triton: the recurrence of each layer, and the GEMMs around it.

T steps, B batch, I input, H hidden, L layers, D directions, N rows (T * B if padded). Triton itself
is imported when a kernel first runs, and never needed where there is no GPU.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec

import torch
from torch import Tensor

from fastlstm.backends import Gradients, Outputs, Problem, padded
from fastlstm.backends.triton import selection
from fastlstm.backends.triton.rows import Rows

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_INSTALLED = find_spec("triton") is not None


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
    from fastlstm.backends.triton import layer

    shape, directions, hidden = x.shape[:-1], c_0.shape[0] // num_layers, c_0.shape[2]
    features, width = directions * hidden, directions * padded(hidden)
    rows = _rows(x, c_0, batch_sizes)
    below = c = gates = None
    if save:
        c = x.new_empty((num_layers, rows.total, width), dtype=torch.float32)
        gates = x.new_empty((num_layers, rows.total, 4 * width))
        below = x.new_empty((num_layers - 1, rows.total, features)) if num_layers > 1 else None
    h_n, c_n = torch.empty_like(h_0), torch.empty_like(c_0)
    y = x.new_empty(*shape, features)
    source = x.reshape(rows.total, -1)
    for n, own in enumerate(_layers(weights, num_layers, directions)):
        target = y.view(rows.total, features)
        if n < num_layers - 1:
            target = torch.empty_like(target) if below is None else below[n]
        saved = None if c is None or gates is None else layer.Saved(c[n], gates[n])
        states = slice(n * directions, (n + 1) * directions)
        h_n[states], c_n[states] = layer.forward(
            source, h_0[states], c_0[states], own, target, rows, saved
        )
        source = target
    return y, h_n, c_n, below, c, gates


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
    from fastlstm.backends.triton import layer

    directions, rows = c_0.shape[0] // num_layers, _rows(x, c_0, batch_sizes)
    dh_n = torch.zeros_like(h_0) if dh_n is None else dh_n
    dc_n = torch.zeros_like(c_0) if dc_n is None else dc_n
    dh_0, dc_0 = torch.empty_like(h_0), torch.empty_like(c_0)
    dweights: list[Tensor | None] = []
    arriving = None if dy is None else dy.reshape(rows.total, -1)
    layers = _layers(weights, num_layers, directions)
    for n in reversed(range(num_layers)):
        source = x.reshape(rows.total, -1) if n == 0 or below is None else below[n - 1]
        output = y if n == num_layers - 1 or below is None else below[n]
        states = slice(n * directions, (n + 1) * directions)
        gradients = layer.backward(
            *(arriving, dh_n[states], dc_n[states], source, h_0[states], c_0[states], layers[n]),
            *(output.reshape(rows.total, -1), rows, layer.Saved(c[n], gates[n])),
            needs_dx=needs_dx or n > 0,
            needs_dweights=needs_dweights[n],
        )
        arriving, dh_0[states], dc_0[states], own = gradients
        dweights[:0] = [None] * (len(weights) // num_layers) if own is None else own
    return (
        arriving.view(x.shape) if needs_dx and arriving is not None else None,
        dh_0,
        dc_0,
        dweights,
    )


def _rows(x: Tensor, c_0: Tensor, batch_sizes: Tensor | None) -> Rows:
    if batch_sizes is None:
        return Rows.padded(x.shape[0], c_0.shape[1])
    return Rows.packed(batch_sizes, c_0.shape[1])


def _layers(
    weights: Sequence[Tensor], num_layers: int, directions: int
) -> list[list[Sequence[Tensor]]]:
    """The weights of each direction of each layer."""
    arity = len(weights) // (num_layers * directions)
    own = [weights[n : n + arity] for n in range(0, len(weights), arity)]
    return [own[n : n + directions] for n in range(0, len(own), directions)]
