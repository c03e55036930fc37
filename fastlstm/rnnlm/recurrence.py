"""The recurrent layers of a model: which class, with what dropout, and how they start.

T time, B batch, E embedding, H hidden.
"""

from typing import Any

import torch
from torch import nn

from fastlstm import LSTM
from fastlstm.rnnlm.config import Config


def make_recurrence(config: Config, input_size: int) -> nn.RNNBase:
    """The recurrent layers, [T, B, E] to [T, B, H], or [T, B, E] where they must tie."""
    size = (input_size, config.hidden, config.layers)
    # nn.LSTM warns of a dropout that a single layer cannot use
    dropout = config.dropout if config.layers > 1 else 0.0
    if config.cell == "gru":
        return nn.GRU(*size, dropout=dropout)
    if config.cell == "rnn":
        return nn.RNN(*size, dropout=dropout)
    if config.implementation == "torch":
        lstm: nn.RNNBase = nn.LSTM(*size, dropout=dropout)
    elif output_size(config) != config.hidden:
        sizes = [config.hidden] * (config.layers - 1) + [config.embedding_size]
        lstm = LSTM(
            input_size,
            sizes,
            dropout=dropout,
            backend=config.backend,
            **_regularization(config),
        )
    else:
        lstm = LSTM(*size, dropout=dropout, backend=config.backend, **_regularization(config))
    set_forget_bias(lstm, config.forget_bias)
    return lstm


def output_size(config: Config) -> int:
    """Units of the last layer."""
    return config.embedding_size if config.tied else config.hidden


def _regularization(config: Config) -> dict[str, Any]:
    """What fastlstm's LSTM is given of it: what there is."""
    names = ("recurrent_dropout", "zoneout", "weight_drop", "locked_dropout")
    return {name: getattr(config, name) for name in names if getattr(config, name)}


def set_forget_bias(lstm: nn.RNNBase, value: float) -> None:
    """Start every forget gate at sigmoid(value), so that memory is kept until learnt otherwise.

    Gers et al. (2000); Jozefowicz et al. (2015). nn.LSTM adds two biases: one takes it all.
    """
    with torch.no_grad():
        for layer in range(lstm.num_layers):
            taken, empty = (getattr(lstm, f"bias_{part}_l{layer}") for part in ("ih", "hh"))
            hidden = len(taken) // 4
            taken[hidden : 2 * hidden] = value
            empty[hidden : 2 * hidden] = 0
