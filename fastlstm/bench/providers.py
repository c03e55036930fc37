"""Who is measured: fastlstm's backends, nn.LSTM and what else a PyTorch user could take."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from fastlstm import backends
from fastlstm.bench import peers
from fastlstm.bench.case import DECODE, INFERENCE, Case
from fastlstm.bench.row import BASELINE
from fastlstm.verify import make_ours
from fastlstm.verify_cases import DTYPES

WhyNot = Callable[[Case, str], str | None]  # (case, device): None, or why it can't run that


def parameter_gradients(module: nn.Module) -> dict[str, Tensor]:
    """The gradients of the last backward by nn.LSTM's names."""
    named = {name.removeprefix("_orig_mod."): p.grad for name, p in module.named_parameters()}
    return {name: grad for name, grad in named.items() if grad is not None}


@dataclass(frozen=True)
class Provider:
    """One implementation of an LSTM.

    make: a module with the signature of nn.LSTM's `forward` and copies of that nn.LSTM's weights.
    auto: whether it is what `fastlstm.LSTM` takes by default.
    trains: whether it has gradients; `gradients` gives them by nn.LSTM's names.
    """

    name: str
    make: Callable[[nn.LSTM], nn.Module]
    why_not: WhyNot
    auto: bool = False
    trains: bool = True
    gradients: Callable[[nn.Module], dict[str, Tensor]] = parameter_gradients

    def runs(self, measure: str) -> bool:
        """Whether it has the pass: without gradients only those that take none."""
        return self.trains or measure in (INFERENCE, DECODE)


class CellLoop(nn.Module):
    """nn.LSTMCell in a Python loop over the steps, as one writes it by hand."""

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.suffixes = [
            f"_l{layer}{reverse}"
            for layer in range(lstm.num_layers)
            for reverse in ("", "_reverse")[: 2 if lstm.bidirectional else 1]
        ]
        self.hidden_size, self.directions = lstm.hidden_size, 2 if lstm.bidirectional else 1
        for suffix in self.suffixes:
            weight = getattr(lstm, f"weight_ih{suffix}")
            cell = nn.LSTMCell(weight.shape[1], lstm.hidden_size, device=weight.device)
            cell = cell.to(weight.dtype)
            cell.load_state_dict({k: getattr(lstm, k + suffix) for k in cell.state_dict()})
            self.add_module(f"cell{suffix}", cell)

    def forward(
        self, x: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """As nn.LSTM's, of padded input `[T, B, I]`."""
        if hx is None:
            zeros = x.new_zeros(len(self.suffixes), x.shape[1], self.hidden_size)
            hx = zeros, zeros
        last = []
        for layer in range(0, len(self.suffixes), self.directions):
            ys = []
            for index in range(layer, layer + self.directions):
                cell = self.get_submodule(f"cell{self.suffixes[index]}")
                state, steps = (hx[0][index], hx[1][index]), list(x.unbind())
                outputs = []
                for step in reversed(steps) if index > layer else steps:
                    state = cell(step, state)
                    outputs.append(state[0])
                ys.append(torch.stack(outputs[::-1] if index > layer else outputs))
                last.append(state)
            x = torch.cat(ys, dim=2) if self.directions == 2 else ys[0]
        h_n, c_n = (torch.stack(parts) for parts in zip(*last, strict=True))
        return x, (h_n, c_n)

    def gradients(self) -> dict[str, Tensor]:
        """The cells' gradients by nn.LSTM's names."""
        found: dict[str, Tensor] = {}
        for suffix in self.suffixes:
            cell = self.get_submodule(f"cell{suffix}")
            found |= {k + suffix: grad for k, grad in parameter_gradients(cell).items()}
        return found


def clone(lstm: nn.LSTM) -> nn.LSTM:
    """A copy that is as fast as the original: cuDNN wants the weights in one piece."""
    copied = copy.deepcopy(lstm)
    copied.flatten_parameters()
    return copied


def _loop_gradients(module: nn.Module) -> dict[str, Tensor]:
    assert isinstance(module, CellLoop)
    return module.gradients()


def _compile(lstm: nn.LSTM) -> nn.Module:
    torch.compiler.reset()  # else the ninth shape would run uncompiled
    compiled: nn.Module = torch.compile(clone(lstm))  # type: ignore[assignment]
    return compiled


def _padded_only(case: Case, device: str) -> str | None:
    return "it takes padded input only" if case.ragged else None


def _anything(case: Case, device: str) -> str | None:
    return None


def fastlstm_providers(device: str, dtype: str) -> list[Provider]:
    """fastlstm's backends that run this dtype here; the one that `auto` takes is made by `auto`."""
    problem = backends.Problem(device, DTYPES[dtype], 0)
    chosen = backends.select(problem).name
    found = []
    for name in backends.names():
        if backends.get(name).why_not(problem) is None:
            wanted = "auto" if name == chosen else name

            def make(lstm: nn.LSTM, backend: str = wanted) -> nn.Module:
                return make_ours(lstm, backend)

            found.append(Provider(f"fastlstm {name}", make, _anything, auto=name == chosen))
    return found


def baseline() -> Provider:
    """nn.LSTM itself."""
    return Provider(BASELINE, clone, _anything)


def choose_providers(
    device: str, dtype: str, against: Sequence[str] = ()
) -> tuple[list[Provider], list[str]]:
    """Those that are here, nn.LSTM first, and a line for each that is not.

    `against` keeps of the others, fastlstm's own aside, only those named; ValueError for a name
    that none has.
    """
    others = [
        Provider("torch.compile", _compile, _anything),
        Provider("LSTMCell loop", CellLoop, _padded_only, gradients=_loop_gradients),
    ]
    absent = {}
    for peer in peers.PEERS:
        reason = peer.missing(device, dtype)
        if reason is not None:
            absent[peer.name] = reason
        else:
            trains = peer.gradients is not None
            gradients = peer.gradients or parameter_gradients
            others.append(Provider(peer.name, peer.make, peer.why_not, False, trains, gradients))
    names = [provider.name for provider in others] + list(absent)
    for name in against:
        if name not in (BASELINE, *names):
            raise ValueError(
                f"--against takes {', '.join(map(repr, (BASELINE, *names)))}, got {name!r}"
            )
    wanted = set(against or names)
    chosen = [baseline(), *fastlstm_providers(device, dtype)]
    lines = [f"{name}: not measured, {why}" for name, why in absent.items() if name in wanted]
    return chosen + [provider for provider in others if provider.name in wanted], lines


def rows_of(output: Tensor | PackedSequence) -> Tensor:
    """The output's tensor, padded or packed."""
    return output.data if isinstance(output, PackedSequence) else output
