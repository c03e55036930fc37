"""What torch.jit makes of an LSTM: in its graphs, which run without fastlstm, it is torch's.

torch.jit.script compiles torch's own module instead. A `torch.jit.ScriptModule` compiles the LSTM
it holds: the methods here, whose language is torch.jit's, which call torch's operator.
"""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from fastlstm import original, widths
from fastlstm.stacked import State


class Scripted(widths.Widths):
    """`Widths` that torch.jit can compile, but for what torch's operator has not."""

    # torch.jit reads the types of the first class that declares any, and knows no string for one:
    # this one has no other types, and its file none as strings.
    __jit_ignored_attributes__: ClassVar = ["_held"]

    def __prepare_scriptable__(self) -> original.LSTM:
        """What torch.jit.script compiles: its graphs run where fastlstm is not installed."""
        self._check_torch_can("be scripted")
        widths.refuse_list(self, "torch.jit.script, which compiles a nn.LSTM,")
        return original.alike(self, original.LSTM)

    def _scripted_padded(self, input: Tensor, hx: State | None) -> tuple[Tensor, State]:
        if input.dim() not in (2, 3):
            raise ValueError(f"LSTM: Expected input to be 2D or 3D, got {input.dim()}D instead")
        batched = input.dim() == 3
        batch_dim = 0 if self.batch_first else 1
        x = input if batched else input.unsqueeze(batch_dim)
        if hx is None:
            h, c = self._scripted_zeros(x, x.size(batch_dim))
        else:
            h, c = self._batched_state(hx, batched)
        self.check_forward_args(x, (h, c), None)
        y, h, c = torch.lstm(
            x,
            [h, c],
            self._flat_weights,  # type: ignore[arg-type]
            self.bias,
            self.num_layers,
            self.dropout,
            self.training,
            self.bidirectional,
            self.batch_first,
        )
        if batched:
            return y, (h, c)
        return y.squeeze(batch_dim), (h.squeeze(1), c.squeeze(1))

    def _scripted_packed(
        self, input: PackedSequence, hx: State | None
    ) -> tuple[PackedSequence, State]:
        x, batch_sizes, sorted_indices, unsorted_indices = input
        if hx is None:
            h, c = self._scripted_zeros(x, int(batch_sizes[0]))
        else:
            h, c = self.permute_hidden(hx, sorted_indices)
        self.check_forward_args(x, (h, c), batch_sizes)
        y, h, c = torch.lstm(
            x,
            batch_sizes,
            [h, c],
            self._flat_weights,  # type: ignore[arg-type]
            self.bias,
            self.num_layers,
            self.dropout,
            self.training,
            self.bidirectional,
        )
        packed = PackedSequence(y, batch_sizes, sorted_indices, unsorted_indices)
        return packed, self.permute_hidden((h, c), unsorted_indices)

    def _scripted_zeros(self, x: Tensor, batch: int) -> State:
        rows = self.num_layers * (2 if self.bidirectional else 1)
        width = self.proj_size if self.proj_size > 0 else self.hidden_size
        h = torch.zeros(rows, batch, width, dtype=x.dtype, device=x.device)
        c = torch.zeros(rows, batch, self.hidden_size, dtype=x.dtype, device=x.device)
        return h, c

    def _check_scripted(
        self,
        lengths: Tensor | None,
        resets: Tensor | None,
        reset_hx: State | None,
        return_cells: bool,
        return_gates: bool,
    ) -> None:
        given: list[str] = []
        if lengths is not None:
            given.append("lengths")
        if resets is not None:
            given.append("resets")
        if reset_hx is not None:
            given.append("reset_hx")
        if return_cells:
            given.append("return_cells")
        if return_gates:
            given.append("return_gates")
        if len(given) > 0:
            names = ", ".join(given)
            raise RuntimeError(f"an LSTM in a ScriptModule, which is torch's, takes no {names}")
        in_effect = self._scripted_regularization()
        if len(in_effect) > 0:
            mode = "training" if self.training else "eval"
            names = ", ".join(in_effect)
            raise RuntimeError(f"an LSTM cannot run in a ScriptModule in {mode} mode with {names}")

    def _scripted_regularization(self) -> list[str]:
        """What `_is_regularized` finds, by name."""
        in_effect: list[str] = []
        # By getattr: torch.jit finds no attribute that is the class's, as a converted LSTM's.
        if self.training and getattr(self, "recurrent_dropout", 0.0) > 0:
            in_effect.append("recurrent_dropout")
        if self.training and getattr(self, "weight_drop", 0.0) > 0:
            in_effect.append("weight_drop")
        if self.training and getattr(self, "locked_dropout", False) and self.dropout > 0:
            in_effect.append("locked_dropout")
        zoneout = getattr(self, "zoneout", 0.0)
        # Two branches, of which torch.jit compiles the one that fits.
        if isinstance(zoneout, tuple):  # noqa: SIM114
            in_effect.append("zoneout")
        elif zoneout > 0:
            in_effect.append("zoneout")
        return in_effect
