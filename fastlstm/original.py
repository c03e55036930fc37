"""PyTorch's own LSTM classes, bound once: ours may be put in their place in `torch.nn`."""

from __future__ import annotations

from typing import TypeVar

from torch import nn
from torch.nn import LSTM, LSTMCell

__all__ = ["LSTM", "LSTMCell", "alike"]

Module = TypeVar("Module", LSTM, LSTMCell)
# Attributes that torch's classes don't have.
REGULARIZATION = ("recurrent_dropout", "zoneout", "weight_drop", "locked_dropout")
OURS = ("backend", "precision", "_held", "_kept", *REGULARIZATION)


def alike(module: nn.Module, cls: type[Module]) -> Module:
    """A module of torch's class with the parameters, hooks and mode of one of ours."""
    twin = cls.__new__(cls)
    twin.__dict__ = {name: value for name, value in vars(module).items() if name not in OURS}
    if isinstance(twin, LSTM):
        twin._init_flat_weights()
    return twin
