"""One step of an LSTM as a function: `torch.lstm_cell` on the backends."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastlstm import autograd_cell, backends, functional, inputs


def lstm_cell(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    *,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """One step of one layer: `torch.lstm_cell` on the backend chosen.

    Args:
        x: ``[B, I]``.
        h_0: ``[B, H]``.
        c_0: ``[B, H]``.
        weights: ``weight_ih [4H, I]``, ``weight_hh [4H, H]``, perhaps ``bias_ih [4H]`` and
            ``bias_hh [4H]``.
        backend: "auto" or a name from `fastlstm.backends.names()`.

    Returns:
        ``h`` and ``c`` after the step, ``[B, H]``.

    Raises:
        ValueError: no backend has that name.
        RuntimeError: the backend asked for cannot run this step.
    """
    if inputs.is_per_sample(weights):
        return _as_sequence(x, h_0, c_0, weights, backend)
    if backend == "auto" and (not x.is_cpu or torch._C._is_any_autocast_enabled()):
        backend = "aten"  # fused there, and its dtypes under autocast are not an LSTM's
    chosen = backends.select(backends.Problem(x.device.type, x.dtype, 0), backend)
    if chosen.name == "aten":
        return torch.lstm_cell(x, (h_0, c_0), *weights)
    if hasattr(chosen.module, "cell_forward"):
        save = inputs.needs_gradient(x, h_0, c_0, weights)
        outputs = autograd_cell.lstm_cell(chosen.module, x, h_0, c_0, weights, save)
        if outputs is not None:
            return outputs
    return _as_sequence(x, h_0, c_0, weights, chosen.name)


def _as_sequence(
    x: Tensor, h_0: Tensor, c_0: Tensor, weights: Sequence[Tensor], backend: str
) -> tuple[Tensor, Tensor]:
    """The step as a sequence of one."""
    states = h_0.unsqueeze(0), c_0.unsqueeze(0)
    _, h_n, c_n = functional.lstm(x.unsqueeze(0), *states, weights, backend=backend)
    return h_n.squeeze(0), c_n.squeeze(0)
