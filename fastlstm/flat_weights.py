"""The weights of a `nn.RNNBase` as a list that is never stale."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class FlatWeights(nn.RNNBase):
    """Keeps `_flat_weights` as nn.LSTM does, but for weak references to the parameters.

    They would keep `torch.utils.swap_tensors` from the parameters, and asking each of them for its
    tensor takes longer than a comparison.
    """

    _held: tuple[Tensor | None, ...]  # the weights that `_flat_weights` was made of

    def _current_weights(self) -> list[Tensor]:
        """The weights of all layers, in nn.LSTM's order; those of now."""
        names = self._flat_weights_names
        if torch.compiler.is_compiling():
            return [getattr(self, name) for name in names]
        parameters = self._parameters
        for held, name in zip(self._held, names, strict=True):
            if held is None or held is not parameters.get(name):
                self._update_flat_weights()
                break
        return self._flat_weights  # type: ignore[return-value]

    def _weights_by_layer(self) -> list[list[Tensor]]:
        weights = self._current_weights()
        arity = len(weights) // self.num_layers
        return [weights[n : n + arity] for n in range(0, len(weights), arity)]

    def __setattr__(self, attr: str, value: Any) -> None:
        super().__setattr__(attr, value)
        if "_held" in self.__dict__ and attr in self._flat_weights_names:
            self._hold()  # the weight of before may be the last reference to its memory

    def _init_flat_weights(self) -> None:
        self._flat_weights = [getattr(self, name, None) for name in self._flat_weights_names]
        self._hold()
        self.flatten_parameters()

    def _hold(self) -> None:
        self._flat_weight_refs = []
        # Pyro draws them anew at each look at the attribute, and keeps none of them.
        held: list[Tensor | None] = vars(self).get("_flat_weights", [])
        self._held = tuple(held) or (None,) * len(self._flat_weights_names)

    def _weights_have_changed(self) -> bool:
        now = (getattr(self, name, None) for name in self._flat_weights_names)
        return any(
            weight is not None and held is not None and weight is not held
            for weight, held in zip(now, self._held, strict=True)
        )

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()  # type: ignore[no-untyped-call]
        del state["_held"]
        state.pop("_kept", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._hold()
