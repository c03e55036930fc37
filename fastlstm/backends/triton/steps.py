"""A recurrence step by step: a product with weight_hh, then the fused cell. For any size and GPU.

T steps, N rows of all of them, B batch, H hidden padded, D directions.
"""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from fastlstm.backends.triton import graphs
from fastlstm.backends.triton.kernels import cell
from fastlstm.backends.triton.precision import uses_tf32
from fastlstm.backends.triton.rows import Rows

BLOCK_B, BLOCK_H = 16, 64


def forward(
    gates: Tensor, weight_hh: Tensor, h_0: Tensor, c_0: Tensor, y: Tensor, c: Tensor, rows: Rows
) -> tuple[Tensor, Tensor]:
    """Runs all steps of all directions.

    Args:
        gates: ``[N, D, H, 4]`` what x and the biases give; becomes the activated gates.
        weight_hh: ``[D, 4*H, H]``, the gates of a unit side by side.
        h_0: ``[D, B, H]``, as c_0.
        c_0: float32.
        y: ``[N, D, hidden]`` out.
        c: ``[N, D, H]`` float32 out; empty: neither it nor the activated gates are wanted.
        rows: which rows belong to which step.

    Returns:
        ``h_n`` and ``c_n [D, B, H]``, of the dtypes of h_0 and c_0.
    """
    h_n, c_n = torch.empty_like(h_0), torch.empty_like(c_0)
    key = "forward", tuple(rows.starts), uses_tf32(gates.device.type, gates.dtype)
    sources, results = (gates, weight_hh, h_0, c_0), (gates, y, c, h_n, c_n)
    graphs.run(lambda *tensors: _forward(rows, *tensors), key, sources, results)
    return h_n, c_n


def _forward(
    rows: Rows,
    of_x: Tensor,
    weight_hh: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    gates: Tensor,
    y: Tensor,
    c: Tensor,
    h: Tensor,
    state: Tensor,
) -> None:
    """All steps; `h` and `state`, which is c's, follow them. `gates` may be `of_x` itself."""
    (_, directions, H, _), hidden, save = gates.shape, y.shape[-1], c.numel() > 0
    h.copy_(h_0)
    state.copy_(c_0)
    if gates.data_ptr() != of_x.data_ptr():
        gates.copy_(of_x)
    product = gates.new_empty(rows.batch, 4 * H)
    for d in range(directions):
        recurrent = weight_hh[d].t()
        for t, _ in rows.order(reverse=d == 1):
            size, own = rows.size(t), slice(rows.starts[t], rows.starts[t + 1])
            torch.mm(h[d, :size], recurrent, out=product[:size])
            cell.cell_forward_kernel[_grid(size, H)](
                *(gates[own, d], product, h[d], state[d], y[own, d], c[own, d] if save else c),
                *(size, H, hidden, directions * H * 4, directions * hidden, directions * H),
                SAVE=save,
                BLOCK_B=BLOCK_B,
                BLOCK_H=BLOCK_H,
            )


def backward(
    gates: Tensor,
    dgates: Tensor,
    weight_hh: Tensor,
    c: Tensor,
    c_0: Tensor,
    dy: Tensor | None,
    dh_n: Tensor,
    dc_n: Tensor,
    rows: Rows,
) -> tuple[Tensor, Tensor]:
    """BPTT of `forward`; shapes as there, ``dgates`` is out and that of the pre-activations.

    Returns ``dh_0`` and ``dc_0 [D, B, H]``, of the dtypes of dh_n and dc_n, which is float32.
    """
    dh_0, dc_0 = torch.empty_like(dh_n), torch.empty_like(dc_n)
    key = "backward", tuple(rows.starts), uses_tf32(gates.device.type, gates.dtype), dy is not None
    sources = gates, weight_hh, c, c_0, dh_n, dc_n, *(() if dy is None else (dy,))
    graphs.run(lambda *tensors: _backward(rows, *tensors), key, sources, (dgates, dh_0, dc_0))
    return dh_0, dc_0


def _backward(
    rows: Rows,
    gates: Tensor,
    weight_hh: Tensor,
    c: Tensor,
    c_0: Tensor,
    dh_n: Tensor,
    dc_n: Tensor,
    *others: Tensor,
) -> None:
    """All steps; `dh` and `dc` follow them."""
    *arriving, dgates, dh, dc = others
    dy = arriving[0] if arriving else None
    _, directions, H, _ = gates.shape
    hidden = H if dy is None else dy.shape[-1]
    dh.copy_(dh_n)
    dc.copy_(dc_n)
    for d in range(directions):
        for t, before in reversed(list(rows.order(reverse=d == 1))):
            size, known = rows.size(t), min(rows.size(t), rows.size(before))
            own = slice(rows.starts[t], rows.starts[t + 1])
            c_prev = c[rows.starts[before] :, d] if known else c
            cell.cell_backward_kernel[_grid(size, H)](
                *(gates[own, d], dgates[own, d], c[own, d], c_prev, c_0[d]),
                *(None if dy is None else dy[own, d], dh[d], dc[d]),
                *(size, known, H, hidden, directions * H * 4, directions * H, directions * hidden),
                HAS_DY=dy is not None,
                BLOCK_B=BLOCK_B,
                BLOCK_H=BLOCK_H,
            )
            torch.mm(dgates[own, d].flatten(1), weight_hh[d], out=dh[d, :size])


def _grid(size: int, H: int) -> tuple[int, int]:
    return triton.cdiv(size, BLOCK_B), triton.cdiv(H, BLOCK_H)
