"""Ours in the tables of torch.ao.quantization, which go by the exact type.

They serve where a `torch.nn.LSTM` is meant to be one of ours: what converts a module there asks
whether it is of the class that `torch.nn` has.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from fastlstm import original
from fastlstm.cell import LSTMCell
from fastlstm.lstm import LSTM


def register() -> None:
    """Gives each of our classes the entries of torch's."""
    for table in _tables():
        for ours, theirs in ((LSTM, original.LSTM), (LSTMCell, original.LSTMCell)):
            if theirs in table:
                table.setdefault(ours, table[theirs])


def _tables() -> list[dict[Any, Any]]:
    try:  # by name: of the package, `quantize` is a function
        quantize = import_module("torch.ao.quantization.quantize")
        mappings = import_module("torch.ao.quantization.quantization_mappings")
    except ImportError:  # its authors mean to move it out of torch
        return []
    custom = getattr(quantize, "_DEFAULT_CUSTOM_CONFIG_DICT", {})
    return [
        getattr(mappings, "DEFAULT_DYNAMIC_QUANT_MODULE_MAPPINGS", {}),
        getattr(mappings, "DEFAULT_REFERENCE_STATIC_QUANT_MODULE_MAPPINGS", {}),
        custom.get("float_to_observed_custom_module_class", {}),
    ]
