"""PyTorch's own LSTM: cuDNN on a GPU, oneDNN on a CPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastlstm.backends import Problem


def why_not(problem: Problem) -> str | None:
    """PyTorch runs everything that nn.LSTM takes."""
    return None


def lstm(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: Sequence[Tensor],
    batch_sizes: Tensor | None = None,
    num_layers: int = 1,
) -> tuple[Tensor, Tensor, Tensor]:
    """The layers on `torch.lstm`; shapes as in `fastlstm.reference.lstm`."""
    weights = list(weights)
    bidirectional = h_0.shape[0] == 2 * num_layers
    has_biases = len(weights) // h_0.shape[0] >= 4
    # cuDNN keeps what backward needs only when told to train.
    train = torch.is_grad_enabled()
    how = has_biases, num_layers, 0.0, train, bidirectional
    hx = (h_0, c_0)
    if batch_sizes is None:
        return torch.lstm(x, hx, weights, *how, False)
    return torch.lstm(x, batch_sizes, hx, weights, *how)
