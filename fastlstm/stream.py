"""`Stream`: an LSTM that is fed step by step and keeps its state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest

import torch
from torch import Tensor

from fastlstm import backends, inputs, widths
from fastlstm.backends import Problem

State = tuple[Tensor, Tensor]
Weights = Sequence[Sequence[Tensor]]


class Stream:
    """A stack of LSTM layers on the CPU kernels that keeps h, c and packed weights between calls.

    Made by `LSTM.stream()`. L layers, B sequences, I input, H hidden, O the size of h: H, or the
    projection. Calling it with one step ``x [B, I]`` gives ``y [B, O]``; with T steps
    ``x [T, B, I]`` it gives ``y [T, B, O]``, in a loop in C++. Nothing is kept for gradients.

    The weights are those of the moment it was made; `refresh` reads them again. Several threads may
    call it: they take turns.

    Raises:
        RuntimeError: the CPU kernels cannot run this LSTM.
        ValueError: x has another shape, dtype or device.
    """

    def __init__(
        self,
        read_weights: Callable[[], Weights],
        batch_size: int = 1,
        precision: str | None = None,
        zoneout: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """`read_weights()` gives for each layer those of its one direction, as nn.LSTM has them."""
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self._read_weights = read_weights
        weights = self._weights()
        first = weights[0][0]
        projection = weights[0][-1].shape[0] if len(weights[0]) % 2 else 0
        backends.select(Problem(first.device.type, first.dtype, projection), "cpu")
        from fastlstm.backends import cpu_stream  # of the kernels that can run it

        self._set_weights = cpu_stream.set_stream_weights
        hidden, output = first.shape[0] // 4, weights[0][1].shape[1]
        self._forms = [_form(own) for own in weights]
        self._dtype = first.dtype
        self._sizes = first.shape[1], output, hidden
        layers = len(weights)
        self._state_shapes = (layers, batch_size, output), (layers, batch_size, hidden)
        self._one = torch.Size((batch_size, first.shape[1]))
        self._one_result = (batch_size, output)
        self._kernel = cpu_stream.make_stream(
            weights, batch_size, projection, precision or "", zoneout
        )
        self._set_weights(self._kernel, weights, self._dtype, *self._sizes)

    def __call__(self, x: Tensor) -> Tensor:
        """``x [B, I]`` -> ``y [B, O]``, or ``x [T, B, I]`` -> ``y [T, B, O]``."""
        if x.shape == self._one and x.dtype is self._dtype and x.is_cpu and x.is_contiguous():
            y = torch.empty(self._one_result, dtype=self._dtype, device="cpu")
            self._kernel.advance(x.data_ptr(), y.data_ptr(), 1, torch.get_num_threads())
            return y
        return self._several(x)

    def _several(self, x: Tensor) -> Tensor:
        shape = x.shape
        if x.dtype is not self._dtype or not x.is_cpu or shape[-2:] != self._one or x.dim() > 3:
            raise ValueError(
                f"x must be {self._dtype} on the CPU, {list(self._one)} or "
                f"[T, {', '.join(map(str, self._one))}], got {x.dtype} on {x.device}, {list(shape)}"
            )
        x = x.contiguous()
        y = torch.empty((*shape[:-1], self._one_result[1]), dtype=self._dtype, device="cpu")
        steps = 1 if x.dim() == 2 else shape[0]
        if steps:
            self._kernel.advance(x.data_ptr(), y.data_ptr(), steps, torch.get_num_threads())
        return y

    @property
    def state(self) -> State:
        """h ``[L, B, O]`` and c ``[L, B, H]``, copies; set it to go on from another.

        c is float32 whatever the dtype of h is.
        """
        h = torch.empty(self._state_shapes[0], dtype=self._dtype, device="cpu")
        c = torch.empty(self._state_shapes[1], dtype=torch.float32, device="cpu")
        self._kernel.read_state(h.data_ptr(), c.data_ptr())
        return h, c

    @state.setter
    def state(self, state: State) -> None:
        h, c = state
        for name, tensor, shape in zip(("h", "c"), (h, c), self._state_shapes, strict=True):
            if tensor.shape != shape:
                raise ValueError(
                    f"state: {name} must have shape {list(shape)}, got {list(tensor.shape)}"
                )
        h = h.detach().to("cpu", self._dtype).contiguous()
        c = c.detach().to("cpu", torch.float32).contiguous()
        self._kernel.write_state(h.data_ptr(), c.data_ptr())

    def reset(self) -> None:
        """Begin anew: h and c become zero."""
        self.state = tuple(  # type: ignore[assignment]
            torch.zeros(shape, dtype=self._dtype, device="cpu") for shape in self._state_shapes
        )

    def refresh(self) -> None:
        """Read the weights again: they have changed.

        Raises:
            ValueError: they have another shape, dtype or device now; the stream keeps the old ones.
        """
        weights = self._weights()
        forms = [_form(own) for own in weights]
        for layer, (made_for, got) in enumerate(zip_longest(self._forms, forms)):
            if got != made_for:
                raise ValueError(
                    f"the weights of layer {layer} must be {made_for} as when the stream was made, "
                    f"got {got}"
                )
        self._set_weights(self._kernel, weights, self._dtype, *self._sizes)

    def _weights(self) -> Weights:
        """The weights of now, biases of one element broadcast."""
        weights = self._read_weights()
        if len(weights[0]) < 4:
            return weights
        return [inputs.broadcast_biases(own, len(own)) for own in weights]


def _form(weights: Sequence[Tensor]) -> str:
    """What packed weights cannot follow a change of, for comparison and for the message."""
    return ", ".join(f"{w.dtype} {list(w.shape)} on {w.device.type!r}" for w in weights)


class Streams(widths.Widths):
    """`Widths` with streams."""

    def stream(self, batch_size: int = 1) -> Stream:
        """An object that runs this LSTM step by step on the CPU kernels and keeps the state.

        For callers that step many times: a step costs little more than its arithmetic. It has the
        weights of now, no gradients and no dropout, and runs forward only.

        Args:
            batch_size: B, the sequences that step together.

        Raises:
            ValueError: the LSTM is bidirectional or of several hidden sizes, or batch_size is less
                than 1.
            RuntimeError: the CPU kernels cannot run this LSTM: see `backend="cpu"`.
        """
        if self.bidirectional:
            raise ValueError("stream() runs forward only, got an LSTM with bidirectional=True")
        widths.refuse_list(self, "stream()")
        return Stream(self._weights_by_layer, batch_size, self.precision, self._zoneout())
