"""A module's layers on every form of input: padded, packed, nested, of lengths and with resets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from fastlstm import inputs, onnx_node, original, plan, tracing, varying
from fastlstm.stacked import Stacked, State
from fastlstm.trace import Trace

Lengths = Tensor | Sequence[int] | None


_check_forward_args: Any = original.LSTM.check_forward_args


class Forms(Stacked):
    """The layers of an LSTM, with dropout between them, on every form of input.

    What they are, nn.LSTM's attributes say, of a module or of whatever else has them.
    """

    input_size: int
    hidden_size: Any
    batch_first: bool
    _current_weights: Callable[[], list[Tensor]]

    # The checks of the arguments, and their words, are nn.LSTM's own.
    check_input: Any = original.LSTM.check_input
    check_hidden_size: Any = original.LSTM.check_hidden_size
    get_expected_hidden_size: Any = original.LSTM.get_expected_hidden_size
    get_expected_cell_size: Any = original.LSTM.get_expected_cell_size
    check_forward_args: Any = _check_forward_args
    permute_hidden: Any = original.LSTM.permute_hidden

    def _fits(self, x: Tensor, hx: State, batch: int, weights: list[Tensor]) -> bool:
        """Whether `check_forward_args`, which takes longer, would find nothing to object to."""
        rows = self.num_layers * (2 if self.bidirectional else 1)
        return (
            type(self).check_forward_args is _check_forward_args
            and x.dtype == weights[0].dtype
            and x.size(-1) == self.input_size
            and hx[0].shape == (rows, batch, self.proj_size or self.hidden_size)
            and hx[1].shape == (rows, batch, self.hidden_size)
        )

    def _traced(
        self,
        input: Tensor | PackedSequence,
        hx: State | None,
        lengths: Lengths,
        resets: Tensor | None,
        reset_hx: State | None,
        cells: bool,
        gates: bool,
    ) -> tuple[Any, ...]:
        """`_forward`, and cells and gates where they are asked for."""
        trace = Trace()
        output, state = self._forward(input, hx, lengths, resets, reset_hx, trace)
        asked = (trace.cells() if cells else None, trace.gates() if gates else None)
        return output, state, *(found for found in asked if found is not None)

    def _forward(
        self,
        input: Tensor | PackedSequence,
        hx: State | None,
        lengths: Lengths,
        resets: Tensor | None,
        reset_hx: State | None,
        trace: Trace | None = None,
    ) -> tuple[Tensor | PackedSequence, State]:
        weights = self._current_weights()
        if lengths is not None or resets is not None or reset_hx is not None:
            return self._forward_varying(input, hx, weights, lengths, resets, reset_hx, trace)
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx, weights, trace)
        if type(input) is not Tensor and input.dim() == 3 and input.is_nested:
            return self._forward_nested(input, hx, weights, trace)
        return self._forward_padded(input, hx, weights, trace)

    def _forward_padded(
        self, input: Tensor, hx: State | None, weights: list[Tensor], trace: Trace | None
    ) -> tuple[Tensor, State]:
        dim = input.dim()
        if dim not in (2, 3):
            raise ValueError(f"LSTM: Expected input to be 2D or 3D, got {dim}D instead")
        batch_dim = 0 if self.batch_first else 1
        x = input if dim == 3 else input.unsqueeze(batch_dim)
        if hx is None:
            hx = self._zero_state(x, x.size(batch_dim))
        else:
            hx = self._batched_state(hx, dim == 3)
        if not self._fits(x, hx, x.size(batch_dim), weights):
            self.check_forward_args(x, hx, None)
        x = x.transpose(0, 1) if self.batch_first else x
        if trace is not None:
            trace.set_form(*x.shape[:2], batch_first=self.batch_first, unbatched=dim == 2)
        output, state = self._layers(x, hx, None, weights, None, trace)
        if self.batch_first:
            output = output.transpose(0, 1)
        if dim == 3:
            return output, state
        return output.squeeze(batch_dim), (state[0].squeeze(1), state[1].squeeze(1))

    def _forward_packed(
        self,
        input: PackedSequence,
        hx: State | None,
        weights: list[Tensor],
        trace: Trace | None,
    ) -> tuple[PackedSequence, State]:
        x, batch_sizes, sorted_indices, unsorted_indices = input
        # A compiler knows the length of indices, but no element of batch_sizes.
        indices = sorted_indices
        batch = plan.batch_of(batch_sizes) if indices is None else indices.size(0)
        if hx is not None and indices is None:  # else two of them are taken, and put in order
            inputs.check_packed_state(hx)
        hx = self._zero_state(x, batch) if hx is None else self.permute_hidden(hx, indices)
        if x.dim() != 2 or not self._fits(x, hx, batch, weights):
            self.check_forward_args(x, hx, batch_sizes)
        output, state = self._layers(x, hx, batch_sizes, weights, None, trace)
        packed = PackedSequence(output, batch_sizes, sorted_indices, unsorted_indices)
        return packed, self.permute_hidden(state, unsorted_indices)

    def _forward_varying(
        self,
        x: Tensor | PackedSequence,
        hx: State | None,
        weights: list[Tensor],
        lengths: Lengths,
        resets: Tensor | None,
        reset_hx: State | None,
        trace: Trace | None,
    ) -> tuple[Tensor, State]:
        if isinstance(x, PackedSequence) or x.dim() != 3:
            form = type(x).__name__ if isinstance(x, PackedSequence) else f"{x.dim()}D input"
            raise ValueError(f"lengths and resets must come with a padded 3D input, got {form}")
        batch = x.size(0 if self.batch_first else 1)
        hx = self._zero_state(x, batch) if hx is None else self._batched_state(hx, True)
        if not self._fits(x, hx, batch, weights):
            self.check_forward_args(x, hx, None)
        if onnx_node.records():
            tracing.check_recorded(resets=resets, reset_hx=reset_hx)
            return self._forward_onnx(x, hx, weights, lengths)
        if trace is not None:
            trace.set_form(*x.shape[:2])
        return varying.run(
            self._rows(weights, trace),
            x,
            hx,
            lengths,
            resets,
            reset_hx,
            directions=1 + self.bidirectional,
            batch_first=self.batch_first,
        )

    def _is_onnx_node(self, input: Tensor | PackedSequence) -> bool:
        """Whether the call is for a node of ONNX, which has no packed rows and no projections."""
        return onnx_node.records() and isinstance(input, Tensor) and not self.proj_size

    def _forward_onnx(
        self, x: Tensor, hx: State, weights: list[Tensor], lengths: Lengths
    ) -> tuple[Tensor, State]:
        x = x.transpose(0, 1) if self.batch_first else x
        y, state = self._layers(x, hx, torch.as_tensor(lengths), weights)
        return (y.transpose(0, 1) if self.batch_first else y), state

    def _forward_nested(
        self, x: Tensor, hx: State | None, weights: list[Tensor], trace: Trace | None
    ) -> tuple[Tensor, State]:
        if x.layout is not torch.jagged or not self.batch_first:
            raise ValueError(
                "a nested input must have the layout torch.jagged and batch_first=True, got "
                f"{x.layout} and batch_first={self.batch_first}"
            )
        values, batch = x.values(), x.size(0)
        hx = self._zero_state(values, batch) if hx is None else self._batched_state(hx, True)
        if not self._fits(values, hx, batch, weights):
            self.check_forward_args(values, hx, torch.tensor([batch]))
        return varying.run_nested(
            self._rows(weights, trace), x, hx, directions=1 + self.bidirectional
        )

    def _rows(self, weights: list[Tensor], trace: Trace | None) -> varying.Layers:
        """The layers as a function of rows."""

        def layers(x: Tensor, hx: State, sizes: Tensor, rows: Tensor) -> tuple[Tensor, State]:
            return self._layers(x, hx, sizes, weights, rows, trace)

        return layers

    def _zero_state(self, x: Tensor, batch: int) -> State:
        rows = self.num_layers * (2 if self.bidirectional else 1)
        c = x.new_zeros(rows, batch, self.hidden_size)
        if not (self.proj_size or torch.compiler.is_compiling()):
            return c, c  # an autograd.Function that is traced refuses the same tensor twice
        return x.new_zeros(rows, batch, self.proj_size or self.hidden_size), c

    def _batched_state(self, hx: State, batched: bool) -> State:
        h, c = hx[0], hx[1]
        dim = 3 if batched else 2
        if h.dim() != dim or c.dim() != dim:
            form = "batched" if batched else "unbatched"
            raise RuntimeError(
                f"For {form} {dim}-D input, hx and cx should "
                f"also be {dim}-D but got ({h.dim()}-D, {c.dim()}-D) tensors"
            )
        inputs.check_two(hx)
        return (h, c) if batched else (h.unsqueeze(1), c.unsqueeze(1))
