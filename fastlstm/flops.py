"""What the operators count as in a `torch.utils.flop_counter.FlopCounterMode`.

Its registry is copied when a counter is made, and importing it takes as long as importing triton
does: a counter that is running gets the formulas when it is about to meet an operator.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack


def tell_counters() -> None:
    """Gives the formulas to the counters that look on."""
    module = sys.modules.get("torch.utils.flop_counter")
    if module is None:
        return
    for mode in _get_current_dispatch_mode_stack():
        counter = getattr(mode, "counter", None)
        if isinstance(counter, module.FlopCounterMode):
            for packet, formula in _FORMULAS.items():
                counter.flop_registry.setdefault(packet, formula)


def _by_name(packet: Any, formula: Callable[[dict[str, Any]], int]) -> Callable[..., int]:
    """A formula of the arguments by the names that they have in the schema."""
    names = [argument.name for argument in packet.default._schema.arguments]

    def count(*args: Any, out_val: Any = None, **kwargs: Any) -> int:
        return formula(dict(zip(names, args, strict=False)) | kwargs)

    return count


def _forward(given: dict[str, Any]) -> int:
    """As a GEMM: 2 for each element of a weight and row of the input."""
    elements = sum(prod(weight.shape) for weight in given["weights"] if weight.dim() == 2)
    return 2 * _rows(given) * int(elements)


def _backward(given: dict[str, Any]) -> int:
    """As two GEMMs for a weight: the gradients of what it multiplies, and its own."""
    weights, layers = given["weights"], given["num_layers"]
    arity = len(weights) // given["h_0"].shape[0]
    elements = 0
    for n, weight in enumerate(weights):
        layer = n * layers // len(weights)
        multiplies_x = layer == 0 and n % arity == 0
        gemms = int(given["needs_dx"] or not multiplies_x) + int(given["needs_dweights"][layer])
        elements += gemms * prod(weight.shape) if weight.dim() == 2 else 0
    return 2 * _rows(given) * int(elements)


def _rows(given: dict[str, Any]) -> int:
    rows = given.get("rows")
    return int(prod(given["x"].shape[:-1] if rows is None else rows.shape))


_FORMULAS = {
    torch.ops.fastlstm.lstm_forward: _by_name(torch.ops.fastlstm.lstm_forward, _forward),
    torch.ops.fastlstm.lstm_backward: _by_name(torch.ops.fastlstm.lstm_backward, _backward),
}
