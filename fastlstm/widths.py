"""A hidden size for each layer: an LSTM that runs layer by layer, each of them as an LSTM of one.

L layers, D directions, H_l units of layer l. No one tensor holds the states of such an LSTM: h and
c are tuples of a tensor for each layer, ``[D, B, H_l]``. They are so wherever `hidden_size` is a
list, of equal sizes and of one too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from fastlstm import original
from fastlstm.forms import Forms
from fastlstm.layers import Layers
from fastlstm.stacked import State

States = tuple[tuple[Tensor, ...], tuple[Tensor, ...]]


class Widths(Layers):
    """`Layers` of one hidden size, or of a list of them."""

    def __init__(
        self, mode: str, input_size: int, hidden_size: Any, num_layers: int, *others: Any
    ) -> None:
        """Arguments as of nn.RNNBase, all of them by position."""
        if not isinstance(hidden_size, Sequence) or isinstance(hidden_size, str):
            super().__init__(mode, input_size, hidden_size, num_layers, *others)  # type: ignore[arg-type]
            return
        bias, batch_first, dropout, bidirectional, proj_size, device, dtype = others
        sizes = _checked_sizes(hidden_size, num_layers)
        inputs = [input_size, *((1 + bidirectional) * (proj_size or size) for size in sizes)]
        # They draw what nn.LSTM draws, in its order, and say in its words what is wrong.
        layers = [
            original.LSTM(
                *(taken, size, 1, bias, batch_first, 0.0, bidirectional, proj_size, device, dtype)
            )
            for taken, size in zip(inputs, sizes, strict=False)
        ]
        how = bias, batch_first, dropout, bidirectional, proj_size, "meta", dtype
        super().__init__(mode, input_size, sizes[0], len(sizes), *how)
        self.hidden_size = sizes
        for index, layer in enumerate(layers):
            for name, parameter in layer.named_parameters():
                setattr(self, name.replace("_l0", f"_l{index}"), parameter)
        self._init_flat_weights()

    def reset_parameters(self) -> None:
        """As nn.LSTM: uniform within the inverse root of the layer's hidden size."""
        if not has_list(self):
            super().reset_parameters()
            return
        for name, parameter in self.named_parameters():
            if found := re.search(r"_l(\d+)", name):
                bound = 1 / math.sqrt(self.hidden_size[int(found[1])])
                nn.init.uniform_(parameter, -bound, bound)

    def flatten_parameters(self) -> None:
        """As nn.LSTM: for cuDNN, the weights of a call in one piece of memory."""
        if not has_list(self):
            super().flatten_parameters()
        elif all(isinstance(weight, Tensor) for weight in self._flat_weights):
            for layer in _one_by_one(self, self._flat_weights):  # type: ignore[arg-type]
                layer.flatten_parameters()


class OneLayer(Forms):
    """A layer of a module as an LSTM of one, for `forward`: what all layers share is the module's.

    It is no module, so that it may be made at each call, of the weights of then.
    """

    num_layers = 1
    dropout = 0.0
    flatten_parameters: Any = original.LSTM.flatten_parameters

    def __init__(self, module: Widths, index: int, weights: list[Tensor]) -> None:
        self.module, self.index = module, index
        below = module.proj_size or module.hidden_size[index - 1]
        self.input_size = (1 + module.bidirectional) * below if index else module.input_size
        self.hidden_size = module.hidden_size[index]
        self._flat_weights = self._flat_weights_names = weights  # of the latter, the number counts
        for name in original.REGULARIZATION:
            setattr(self, name, getattr(module, name))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)

    def _current_weights(self) -> list[Tensor]:
        return self._flat_weights

    def check_hidden_size(
        self, hx: Tensor, expected: tuple[int, ...], msg: str = "Expected hidden size {}, got {}"
    ) -> None:
        """As nn.LSTM, and names the layer."""
        original.LSTM.check_hidden_size(self, hx, expected, f"layer {self.index}: {msg}")  # type: ignore[arg-type]

    def _batched_state(self, hx: State, batched: bool) -> State:
        try:
            return super()._batched_state(hx, batched)
        except RuntimeError as error:
            raise RuntimeError(f"layer {self.index}: {error}") from None

    def _forward_varying(self, *given: Any) -> tuple[Tensor, State]:
        try:
            return super()._forward_varying(*given)
        except ValueError as error:
            if not str(error).startswith("reset_hx: "):
                raise
            raise ValueError(f"layer {self.index}: {error}") from None


def has_list(module: nn.Module) -> bool:
    """Whether a module's hidden size is a list of them."""
    return isinstance(module.hidden_size, list)


def refuse_list(module: nn.Module, what: str) -> None:
    """Raises ValueError for an LSTM with a list of hidden sizes: `what` takes none."""
    if has_list(module):
        raise ValueError(
            f"{what} takes one hidden size for all layers, got hidden_size={module.hidden_size}"
        )


def run(
    forward: Callable[..., tuple[Any, ...]],
    module: Widths,
    x: Any,
    hx: States | None,
    lengths: Any,
    resets: Tensor | None,
    reset_hx: States | None,
    *asked: bool,
) -> tuple[Any, ...]:
    """`forward`, an LSTM's, through each layer as its `self`, with dropout between them.

    Raises:
        ValueError: hx or reset_hx have not a tensor for each layer, or reset_hx not of its shape.
        RuntimeError: a tensor of hx has another shape; the layer is named.
    """
    count = module.num_layers
    given, after = _by_layer("hx", hx, count), _by_layer("reset_hx", reset_hx, count)
    h, c, traced = [], [], []
    for layer in _one_by_one(module, module._current_weights()):
        if layer.index and module.training and module.dropout > 0:
            x = _dropped(module, x)
        own, own_after = given[layer.index], after[layer.index]
        x, (h_n, c_n), *found = forward(layer, x, own, lengths, resets, own_after, *asked)
        traced.append([of_layer.squeeze(0) for of_layer in found])
        h.append(h_n)
        c.append(c_n)
    return x, (tuple(h), tuple(c)), *zip(*traced, strict=True)


def _one_by_one(module: Widths, weights: list[Tensor]) -> list[OneLayer]:
    n = len(weights) // module.num_layers
    own = [weights[first : first + n] for first in range(0, len(weights), n)]
    return [OneLayer(module, index, of_it) for index, of_it in enumerate(own)]


def _checked_sizes(hidden_size: Sequence[Any], num_layers: int) -> list[Any]:
    if hidden_size and num_layers in (1, len(hidden_size)):
        return list(hidden_size)
    raise ValueError(
        "num_layers must be the length of hidden_size, and that at least 1, got "
        f"num_layers={num_layers} and hidden_size={list(hidden_size)}"
    )


def _by_layer(name: str, states: States | None, count: int) -> list[Any]:
    """Of each layer h and c, or None."""
    if states is None:
        return [None] * count
    by_layer = list(states) if isinstance(states, (tuple, list)) else []
    if len(by_layer) != 2 or any(
        not isinstance(own, (tuple, list)) or len(own) != count for own in by_layer
    ):
        raise ValueError(
            f"{name} must be two tuples, h and c, of {count} tensors, one for each layer, got "
            f"{_form(states)}"
        )
    return list(zip(*by_layer, strict=True))


def _form(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(_form, value))})"
    return type(value).__name__


def _dropped(module: Widths, x: Any) -> Any:
    """Dropout on the output of a layer, whatever its form."""
    if isinstance(x, Tensor) and not (x.is_nested or module.locked_dropout):
        return F.dropout(x, module.dropout)
    if isinstance(x, PackedSequence):
        return x._replace(data=module._drop_output(x.data, x.batch_sizes, None))
    if x.is_nested:
        offsets, values, count = x.offsets(), x.values(), x.size(0)
        if module.locked_dropout:
            sequence = torch.arange(count, device=offsets.device)
            sequence = sequence.repeat_interleave(offsets.diff(), output_size=values.shape[0])
            values = values * module._locked_mask(values, sequence, count)
        else:
            values = F.dropout(values, module.dropout)
        return torch.nested.nested_tensor_from_jagged(values, offsets, lengths=x.lengths())
    time_first = x.transpose(0, 1) if module.batch_first and x.dim() == 3 else x
    dropped = module._drop_output(time_first, None, None)
    return dropped.transpose(0, 1) if module.batch_first and x.dim() == 3 else dropped
