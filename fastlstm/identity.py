"""What an LSTM is taken for: `isinstance(lstm, nn.LSTM)` is true, but for a compiler.

Models ask it before they initialise an LSTM, or unpack what it returns. torch.compile(fullgraph=
True) asks it too, and refuses what is a nn.LSTM.
"""

from __future__ import annotations

from typing import Any, SupportsIndex

import torch
from torch import _guards, nn

from fastlstm import original


class LooksLikeLSTM(nn.RNNBase):
    """A `nn.RNNBase` that `isinstance` takes for a `nn.LSTM`, although its type is not one.

    For an object whose type does not fit, `isinstance` asks its `__class__`. That is, while nothing
    is being compiled, a lookalike in place of the type itself.
    """

    @property
    def __class__(self) -> type:
        own = type(self)
        compiling = _guards.TracingContext.try_get() is not None
        return _LOOKALIKES.get(own, own) if not compiling else own

    @__class__.setter
    def __class__(self, wanted: type) -> None:
        own = next((own for own, like in _LOOKALIKES.items() if wanted is like), wanted)
        object.__dict__["__class__"].__set__(self, own)

    def _get_name(self) -> str:
        return type(self).__name__

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        # pickle refuses the usual way for an object whose __class__ is not its type.
        made: Any = super().__reduce_ex__(2)
        return (_new, *made[1:])


_LOOKALIKES: dict[type, type] = {}  # for the types that have one


def look_like_torch(cls: type) -> type:
    """Gives instances of exactly `cls`, a `LooksLikeLSTM`, the looks of a `nn.LSTM`.

    What is made or derived of the lookalike, to copy an object or to give it another class
    (parametrizations, fully_shard), is made or derived of `cls` instead.
    """

    def make(made: type, *args: Any, **kwargs: Any) -> Any:
        if made is like and (args or kwargs):
            return cls(*args, **kwargs)
        return object.__new__(cls if made is like else made)

    def derive(derived: type) -> None:
        derived.__new__ = make  # type: ignore[method-assign, assignment]
        others = [base for base in derived.__bases__ if not issubclass(base, original.LSTM)]
        stands = not any(issubclass(other, cls) for other in others)
        bases = (cls if base is like else base for base in derived.__bases__)
        derived.__bases__ = tuple(b for b in bases if b in others or (b is cls and stands))

    names = {name: getattr(cls, name) for name in ("__module__", "__qualname__", "__doc__")}
    names |= {"__new__": make, "__init_subclass__": classmethod(derive)}
    _LOOKALIKES[cls] = like = type(cls.__name__, (cls, original.LSTM), names)
    return cls


def _new(cls: Any) -> Any:
    return cls.__new__(cls)


# It makes nothing that `cls.__new__` would not, and asks of a loader no more than a nn.LSTM does.
torch.serialization.add_safe_globals([_new])
