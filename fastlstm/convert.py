"""`convert` puts fastlstm's classes in the place of torch's in a model; `quantize`, `restore`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils import parametrize

from fastlstm import functional, original
from fastlstm.cell import LSTMCell
from fastlstm.lstm import LSTM
from fastlstm.widths import has_list

_NAMES = ("LSTM", "LSTMCell")


@dataclass(frozen=True)
class Report:
    """What `convert`, `quantize` or `restore` did.

    changed: the names of the modules that have another class now, or are quantized, as
        `named_modules` has them.
    kept: those that look as if they should, by name, and the reason why they are not.
    """

    changed: tuple[str, ...]
    kept: dict[str, str]

    def __str__(self) -> str:
        lines = [f"changed: {name or 'the model itself'}" for name in self.changed]
        lines += [f"kept: {name or 'the model itself'}: {why}" for name, why in self.kept.items()]
        return "\n".join(lines) or "nothing to change"


def convert(model: nn.Module, *, backend: str = "auto", precision: str | None = None) -> Report:
    """Makes every nn.LSTM and nn.LSTMCell inside `model`, or `model` itself, fastlstm's, in place.

    A module gets another class, and stays the same object: parameters, names, hooks, mode, device
    and dtype, optimizers that hold its parameters and modules that refer to it are not touched.

    Args:
        model: any module.
        backend: as for `LSTM`.
        precision: as for `LSTM`.

    Returns:
        What was changed, and what was not, and why.

    Raises:
        ValueError: no backend or no precision has that name.
    """
    functional.check_backend(backend)
    functional.check_precision(precision)

    def change(module: nn.Module, cls: type) -> None:
        module.__class__ = cls
        module.backend = backend  # type: ignore[assignment]
        if isinstance(module, LSTM):
            module.precision = precision
            module._init_flat_weights()

    return _swap(model, {original.LSTM: LSTM, original.LSTMCell: LSTMCell}, change)


def quantize(model: nn.Module) -> Report:
    """Has every nn.LSTM and `fastlstm.LSTM` inside `model`, or `model` itself, hold int8 weights.

    In place, as `convert`, and with ``precision="int8"``: inference on the CPU, where nothing needs
    a gradient, is from weights in 8 bits. The parameters stay what they are, float32, as do
    `state_dict` and training; `restore` gives the classes of torch back. Of weights that are
    written through `.data` afterwards nothing is seen until it is called again.

    Args:
        model: any module.

    Returns:
        What was quantized, and what was not, and why.
    """

    def change(module: nn.Module, cls: type) -> None:
        if isinstance(module, LSTM):
            module.precision = "int8"
            module.__dict__.pop("_kept", None)  # weights may have been written through `.data`
            return
        module.__class__ = cls
        module.backend = "auto"  # type: ignore[assignment]
        module.precision = "int8"  # type: ignore[assignment]
        module._init_flat_weights()  # type: ignore[operator]

    def why_kept(module: nn.Module) -> str | None:
        if isinstance(module, original.LSTMCell | LSTMCell):
            return "it is a cell, which has no precision"
        dtype = next((p.dtype for p in module.parameters()), torch.float32)
        if isinstance(module, original.LSTM | LSTM) and dtype != torch.float32:
            return f"its parameters are {dtype}, int8 weights are made of torch.float32"
        return None

    return _swap(model, {original.LSTM: LSTM, LSTM: LSTM}, change, why_kept)


def restore(model: nn.Module) -> Report:
    """Gives the modules of `model` that are fastlstm's the classes of torch again, in place.

    Args:
        model: any module. What was built as `fastlstm.LSTM` becomes a nn.LSTM too.

    Returns:
        What was changed, and what was not, and why.
    """

    def change(module: nn.Module, cls: type) -> None:
        for name in original.OURS:
            module.__dict__.pop(name, None)
        module.__class__ = cls
        if isinstance(module, original.LSTM):
            module._init_flat_weights()

    return _swap(model, {LSTM: original.LSTM, LSTMCell: original.LSTMCell}, change)


def _swap(
    model: nn.Module,
    classes: dict[type, type],
    change: Callable[[nn.Module, type], None],
    why_kept: Callable[[nn.Module], str | None] = lambda module: None,
) -> Report:
    changed, kept = [], {}
    for name, module in list(model.named_modules()):
        own = type(module)
        parametrized = parametrize.is_parametrized(module)
        base = own.__bases__[0] if parametrized else own
        reason = why_kept(module) or _why_kept(module, base, tuple(classes))
        if reason is not None:
            kept[name] = reason
        elif base in classes:
            wanted = classes[base]
            change(module, _parametrized(own, wanted) if parametrized else wanted)
            changed.append(name)
    return Report(tuple(changed), kept)


def _parametrized(own: type, base: type) -> type:
    """The class of a parametrized module, on another base."""
    return type(f"Parametrized{base.__name__}", (base,), dict(vars(own)))


def _why_kept(module: nn.Module, base: type, classes: tuple[type, ...]) -> str | None:
    """Why a module that looks like one of `classes` is kept; None: it does not, or is to change."""
    own = type(module)
    restores = original.LSTM not in classes
    if restores and isinstance(module, LSTM) and has_list(module):
        return f"nn.LSTM has one hidden size for all layers, not {module.hidden_size}"
    if base in classes:
        own_ways = module.regularization() if restores and isinstance(module, LSTM) else ""
        return f"nn.LSTM has no {own_ways}" if own_ways else None
    if restores:
        derived = issubclass(own, classes)
    elif isinstance(module, torch.jit.ScriptModule):
        return "it is compiled by torch.jit" if module.original_name in _NAMES else None
    elif own.__module__.startswith("torch.ao.nn") and own.__name__ in _NAMES:
        return f"it is quantized: {own.__module__}.{own.__name__}"
    else:
        derived = issubclass(own, classes) and not issubclass(own, LSTMCell)
    if not derived:
        return None
    return f"what its class, {own.__module__}.{own.__qualname__}, changes of an LSTM is not known"
