"""`LSTM`: the module that stands where `nn.LSTM` stood."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import Tensor
from torch._jit_internal import _overload_method, is_scripting
from torch.nn.utils.rnn import PackedSequence

from fastlstm import functional, original, tracing, widths
from fastlstm.forms import Lengths
from fastlstm.identity import LooksLikeLSTM, look_like_torch
from fastlstm.scripted import Scripted
from fastlstm.stacked import State
from fastlstm.stream import Streams

_torch_forward: Any = original.LSTM.forward


@look_like_torch
class LSTM(LooksLikeLSTM, Scripted, Streams):
    r"""A multi-layer long short-term memory, as `torch.nn.LSTM`, on fastlstm's kernels.

    .. math::
        i_t, f_t, o_t = \sigma(W_{i} x_t + W_{h} h_{t-1} + b), \quad
        g_t = \tanh(\ldots), \quad
        c_t = f_t \odot c_{t-1} + i_t \odot g_t, \quad
        h_t = o_t \odot \tanh(c_t)

    The arguments, the parameters and their names, the initial values for a given seed, the
    `state_dict`, the shapes and the errors are those of `torch.nn.LSTM`. `isinstance` takes it for
    one, except in code that is being compiled: torch.compile(fullgraph=True) refuses a nn.LSTM.

    Args:
        input_size: features of the input, I.
        hidden_size: features of the state, H; or a list of them, one for each layer, with which h
            and c, given and returned, are tuples of a tensor for each layer, even of equal sizes.
        num_layers: layers, each fed with the output of the one before; with a list, its length,
            which it need not say.
        bias: whether there are bias_ih and bias_hh.
        batch_first: padded input and output are ``[B, T, .]`` instead of ``[T, B, .]``.
        dropout: probability of zeroing an element of each layer's output but the last one's.
        bidirectional: a second direction of each layer runs from the end to the start.
        proj_size: if not 0, h is projected to this size, P (Sak et al. 2014).
        device: where the parameters are made.
        dtype: the floating-point type of the parameters.
        backend: "auto" takes the first that can run a layer. One asked for by name
            ("cpu", "aten", "reference") is used, or a RuntimeError says why it can't be.
        precision: "bf16" lets a float32 layer on the "cpu" backend hold its weights and h in
            bfloat16; products are summed in float32, and results are float32. "int8": its weights
            in 8 bits, with a scale for each row (gate and unit), x and h in 16; it rounds them at
            the first call and where a weight has been replaced or changed in place, but is not told
            of a write through `.data`: see `fastlstm.quantize`. Ignored where
            anything needs a gradient, and on other backends. None: the parameters' own dtype.
        recurrent_dropout: probability that the gates do not see an element of h; the others are
            scaled up. Each sequence has one mask for all its steps (Gal & Ghahramani 2016).
        zoneout: probability that a unit keeps its c and its h of the step before, or the two of c
            and h (Krueger et al. 2017). In eval mode the expectation is taken. That of h must be 0
            with a projection.
        weight_drop: probability of zeroing an element of weight_hh, for a whole call (Merity et al.
            2017).
        locked_dropout: whether `dropout` has one mask for all steps of a sequence.

    Shapes, for D directions and L layers: input ``[T, B, I]``, ``[T, I]`` or a `PackedSequence`;
    h_0 and h_n ``[L*D, B, H]`` (P in place of H with a projection), c_0 and c_n ``[L*D, B, H]``;
    output ``[T, B, D*H]``. With a list of hidden sizes: a tensor ``[D, B, H]`` for each layer.

    Raises:
        ValueError, TypeError, RuntimeError: as nn.LSTM, in its words; ValueError for a backend or
            a precision that is not known, and a num_layers that is not the list's length.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        backend: str = "auto",
        precision: str | None = None,
        recurrent_dropout: float = 0.0,
        zoneout: float | tuple[float, float] = 0.0,
        weight_drop: float = 0.0,
        locked_dropout: bool = False,
    ) -> None:
        # fmt: off
        super().__init__(
            "LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            proj_size, device, dtype,
        )
        # fmt: on
        functional.check_backend(backend)
        functional.check_precision(precision)
        self.backend = backend
        self.precision = precision
        self._set_regularization(recurrent_dropout, zoneout, weight_drop, locked_dropout)

    if not TYPE_CHECKING:  # for torch.jit, which knows no sequences
        # fmt: off
        @_overload_method
        def forward(
            self, input: Tensor, hx: State | None = None, lengths: Tensor | None = None,
            resets: Tensor | None = None, reset_hx: State | None = None,
            return_cells: bool = False, return_gates: bool = False,
        ) -> tuple[Tensor, State]:
            pass

        @_overload_method
        def forward(
            self, input: PackedSequence, hx: State | None = None, lengths: Tensor | None = None,
            resets: Tensor | None = None, reset_hx: State | None = None,
            return_cells: bool = False, return_gates: bool = False,
        ) -> tuple[PackedSequence, State]:
            pass
        # fmt: on

    @overload
    def forward(
        self,
        input: Tensor,
        hx: State | None = None,
        lengths: Lengths = None,
        resets: Tensor | None = None,
        reset_hx: State | None = None,
    ) -> tuple[Tensor, State]: ...

    @overload
    def forward(
        self, input: PackedSequence, hx: State | None = None
    ) -> tuple[PackedSequence, State]: ...

    @overload
    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: State | None = None,
        lengths: Lengths = None,
        resets: Tensor | None = None,
        reset_hx: State | None = None,
        return_cells: bool = False,
        return_gates: bool = False,
    ) -> tuple[Any, ...]: ...

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: State | None = None,
        lengths: Lengths = None,
        resets: Tensor | None = None,
        reset_hx: State | None = None,
        return_cells: bool = False,
        return_gates: bool = False,
    ) -> tuple[Any, ...]:
        """The output of the last layer at every step, and the final states of every layer.

        Args:
            input: ``[T, B, I]``, ``[T, I]`` or a `PackedSequence`.
            hx: h_0 and c_0; None: zero.
            lengths: ``[B]`` integers from 0 to T, in any order: how many steps each item of a
                padded batch has. The results are those of a `PackedSequence`, without packing,
                sorting or copying: output is zero beyond an item's length, where input is not read.
                An item without steps keeps its h_0 and c_0.
            resets: ``[T, B]`` bool (``[B, T]`` with `batch_first`): before which steps of a padded
                batch h and c become zero, as where an episode or a document begins. The reverse
                direction is reset at the same places.
            reset_hx: h and c, of the shapes of hx, that they become instead.
            return_cells: whether to return c of all layers and steps too.
            return_gates: whether to return the activated gates too.

        Returns:
            ``output, (h_n, c_n)``, and then what else is asked for: cells ``[L, T, B, D*H]`` and
            gates ``[L, T, B, 4, D*H]`` in the order i, f, g, o. ``[L, T, .]`` unbatched, ``[L, B,
            T, .]`` with `batch_first`, and for packed and nested input ``[L, N, .]`` of the rows of
            its data or values. They have gradients, which are computed step by step, not fused.
        """
        # A compiler of torch.jit reads one branch only.
        if is_scripting():
            if not isinstance(self.hidden_size, int):
                raise ValueError("hidden_size must be an int in a ScriptModule, got a list")
            self._check_scripted(lengths, resets, reset_hx, return_cells, return_gates)  # type: ignore[arg-type]
            if isinstance(input, PackedSequence):
                return self._scripted_packed(input, hx)
            else:
                return self._scripted_padded(input, hx)
        else:
            if tracing.records_module(input):
                asked = return_cells or None, return_gates or None
                return tracing.as_module(self, input, hx, lengths, resets, reset_hx, *asked)  # type: ignore[no-any-return]
            if widths.has_list(self):
                given = input, hx, lengths, resets, reset_hx
                return widths.run(LSTM.forward, self, *given, return_cells, return_gates)  # type: ignore[arg-type]
            if tracing.records_torch(self.backend):
                self._check_torch_can("be traced")
                cells, gates = tracing.is_asked(return_cells), tracing.is_asked(return_gates)
                tracing.check_recorded(return_cells=cells or None, return_gates=gates or None)
                if not self._is_onnx_node(input):
                    tracing.check_recorded(lengths=lengths, resets=resets, reset_hx=reset_hx)
                    return _torch_forward(self, input, hx)  # type: ignore[no-any-return]
            if not (return_cells or return_gates):
                return self._forward(input, hx, lengths, resets, reset_hx)
            return self._traced(input, hx, lengths, resets, reset_hx, return_cells, return_gates)
