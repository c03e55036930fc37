"""What an LSTM is taken for: `isinstance(lstm, nn.LSTM)` is true, but for a compiler.

Models ask it before they initialise an LSTM, or unpack what it returns. torch.compile(fullgraph=
True) asks it too, and refuses what is a nn.LSTM.
"""

from __future__ import annotations

from typing import Any, SupportsIndex

from torch import _guards, nn

from fastlstm import original


class LooksLikeLSTM(nn.RNNBase):
    """A `nn.RNNBase` that `isinstance` takes for a `nn.LSTM`, although its type is not one.

    For an object whose type does not fit, `isinstance` asks its `__class__`. That is, while nothing
    is being compiled, `Lookalike` in place of the type itself. What a library derives of it, to
    give an object another class (parametrizations, fully_shard), is derived of the type instead.
    """

    @property
    def __class__(self) -> type:
        own = type(self)
        compiling = _guards.TracingContext.try_get() is not None
        return _LOOKALIKES.get(own, own) if not compiling else own

    @__class__.setter
    def __class__(self, wanted: type) -> None:
        own = next((own for own, like in _LOOKALIKES.items() if like in wanted.__mro__), None)
        if own is not None:
            wanted = own if wanted is _LOOKALIKES[own] else _derived_of(own, wanted)
        object.__dict__["__class__"].__set__(self, wanted)

    def _get_name(self) -> str:
        return type(self).__name__

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        # pickle refuses the usual way for an object whose __class__ is not its type.
        made: Any = super().__reduce_ex__(2)
        return (_new, *made[1:])


_LOOKALIKES: dict[type, type] = {}  # for the types that have one


def look_like_torch(cls: type) -> type:
    """Gives instances of exactly `cls`, a `LooksLikeLSTM`, the looks of a `nn.LSTM`."""
    names = {name: getattr(cls, name) for name in ("__module__", "__qualname__", "__doc__")}
    _LOOKALIKES[cls] = type(cls.__name__, (cls, original.LSTM), names)
    return cls


def _derived_of(own: type, wanted: type) -> type:
    """`wanted`, of whose bases one is the lookalike of `own`, with `own` in its place."""
    bases = tuple(own if base is _LOOKALIKES[own] else base for base in wanted.__bases__)
    return type(wanted.__name__, bases, dict(vars(wanted)))


def _new(cls: Any) -> Any:
    return cls.__new__(cls)
