"""Who is measured: fastlstm's backends, nn.LSTM and what else a PyTorch user could take."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from fastlstm import backends
from fastlstm.bench import peers, variants
from fastlstm.bench.case import DECODE, INFERENCE, Case
from fastlstm.bench.cell_loop import CellLoop
from fastlstm.bench.row import BASELINE
from fastlstm.verify import make_ours
from fastlstm.verify_cases import DTYPES

UNTRAINED = (INFERENCE, DECODE)
WhyNot = Callable[[Case, str], str | None]  # (case, device): None, or why it can't run that


def parameter_gradients(module: nn.Module) -> dict[str, Tensor]:
    """The gradients of the last backward by nn.LSTM's names."""
    named = {name.removeprefix("_orig_mod."): p.grad for name, p in module.named_parameters()}
    return {name: grad for name, grad in named.items() if grad is not None}


@dataclass(frozen=True)
class Provider:
    """One implementation of an LSTM.

    make: a module with the signature of nn.LSTM's `forward` and copies of that nn.LSTM's weights.
    backend: the backend of `fastlstm.LSTM` that it is, if it is one.
    trains: whether it has gradients; `gradients` gives them by nn.LSTM's names.
    meant_for: the cases it is about; the others are passed over, without a line.
    rounds_to: the dtype that its results are held to, where that is not the case's.
    """

    name: str
    make: Callable[[nn.LSTM], nn.Module]
    why_not: WhyNot
    backend: str = ""
    trains: bool = True
    gradients: Callable[[nn.Module], dict[str, Tensor]] = parameter_gradients
    meant_for: Callable[[Case], bool] = lambda case: True
    rounds_to: str | None = None

    def is_auto(self, case: Case, measure: str, device: str) -> bool:
        """Whether it is what `fastlstm.LSTM` takes by default for a pass of a case."""
        trained = measure not in UNTRAINED
        shape = backends.Shape(case.H, case.B, case.layers, case.directions, trained)
        problem = backends.Problem(device, DTYPES[case.dtype], 0, shape)
        return self.backend == backends.select(problem).name

    def runs(self, measure: str) -> bool:
        """Whether it has the pass: without gradients only those that take none."""
        return self.trains or measure in UNTRAINED


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
    """fastlstm's backends that run this dtype here.

    On a CPU the one that `auto` takes is made by `auto`; on a GPU that depends on the case.
    """
    problem = backends.Problem(device, DTYPES[dtype], 0)
    chosen = backends.select(problem).name if device == "cpu" else ""
    found = []
    for name in backends.names():
        if backends.get(name).why_not(problem) is None:
            wanted = "auto" if name == chosen else name

            def make(lstm: nn.LSTM, backend: str = wanted) -> nn.Module:
                return make_ours(lstm, backend)

            found.append(Provider(f"fastlstm {name}", make, _anything, backend=name))
    return found


def variant_providers(device: str) -> tuple[list[Provider], list[str]]:
    """What fastlstm.LSTM can be asked for beside its default, and a line for what it can't."""
    stream = Provider(
        "fastlstm stream", variants.Stream, _anything, trains=False, meant_for=variants.streams
    )
    bf16_weights = Provider(
        "fastlstm bf16 weights",
        variants.make_bf16_weights,
        _anything,
        trains=False,
        meant_for=variants.reads_weights,
        rounds_to="bfloat16",
    )
    reason = variants.why_not(device)
    if reason is None:
        return [stream, bf16_weights], []
    return [], [f"{p.name}: not measured, {reason}" for p in (stream, bf16_weights)]


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
            others.append(Provider(peer.name, peer.make, peer.why_not, "", trains, gradients))
    names = [provider.name for provider in others] + list(absent)
    for name in against:
        if name not in (BASELINE, *names):
            raise ValueError(
                f"--against takes {', '.join(map(repr, (BASELINE, *names)))}, got {name!r}"
            )
    wanted = set(against or names)
    own, lines = variant_providers(device)
    chosen = [baseline(), *fastlstm_providers(device, dtype), *own]
    lines += [f"{name}: not measured, {why}" for name, why in absent.items() if name in wanted]
    return chosen + [provider for provider in others if provider.name in wanted], lines


def rows_of(output: Tensor | PackedSequence) -> Tensor:
    """The output's tensor, padded or packed."""
    return output.data if isinstance(output, PackedSequence) else output
