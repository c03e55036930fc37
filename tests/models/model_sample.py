"""`Sample`: a model, and what it is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

Outputs = dict[str, Tensor]
Call = Callable[..., Outputs]


@dataclass(frozen=True)
class Sample:
    """A model, and what it is given: `call(model, **inputs)` is one use of it."""

    model: nn.Module
    inputs: dict[str, Tensor]
    call: Call


def call_for(name: str) -> Call:
    """A call of the model itself, whose only output gets this name."""
    return lambda model, **inputs: {name: model(**inputs)}
