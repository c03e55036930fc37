"""Calls that are recorded by a tracer which must find nn.LSTM: its operator, or its module.

A graph of torch.jit.trace runs where fastlstm is not installed, ONNX has an operator for LSTMs, and
torch.fx takes modules of torch.nn for one node.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from fastlstm import onnx_node


def records_torch(backend: str) -> bool:
    """Whether the call is traced for a graph that is to run without fastlstm.

    A graph of torch.jit.trace is not, where a module has a backend by name.
    """
    if torch.compiler.is_compiling():
        return onnx_node.records()
    if not torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return False
    return backend == "auto" or bool(torch.onnx.is_in_onnx_export())


def check_recorded(**given: Any) -> None:
    """Raises RuntimeError for an argument that torch's operator does not have."""
    for name, value in given.items():
        if value is not None:
            raise RuntimeError(
                f"{name} must be None where torch's operator is recorded, got "
                f"{type(value).__name__}; torch.jit.trace takes it where backend is not 'auto'"
            )


def is_asked(flag: bool | Tensor) -> bool:
    """A flag of a call that is recorded: torch.jit.trace may have made it a tensor."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        return bool(flag)


def records_module(input: Any) -> bool:
    """Whether the call is traced by torch.fx."""
    return type(input) is not Tensor and isinstance(input, torch.fx.Proxy)


def as_module(module: nn.Module, *args: Any) -> Any:
    """The call as one node of the graph, as it is for the modules of torch.nn."""
    tracer = args[0].tracer
    while args and args[-1] is None:
        args = args[:-1]
    return tracer.create_proxy("call_module", tracer.path_of_module(module), args, {})
