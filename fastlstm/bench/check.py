"""Equal work: a provider's results are those of nn.LSTM, or it is not timed.

The expected results are nn.LSTM's in float32 (of float64 its own) at the very same numbers. Half of
the digits of the dtype must agree, `sqrt(eps)` of the largest value: rounding in another order,
through many steps, stays far below, another computation does not. Where nn.LSTM itself in that
dtype is further off, four times its own error is allowed. A provider that rounds its weights to a
shorter dtype is held to half of the digits of that one. How exact fastlstm is, is another question:
`fastlstm verify` answers it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from fastlstm.backends.triton.precision import uses_tf32
from fastlstm.bench.case import Case
from fastlstm.bench.providers import Provider, parameter_gradients, rows_of
from fastlstm.verify import TF32_EPS, relative_error
from fastlstm.verify_cases import DTYPES

SLACK = 4.0

Results = dict[str, Tensor]
Gradients = Callable[[nn.Module], dict[str, Tensor]]


def results(
    module: nn.Module, case: Case, x: Tensor | PackedSequence, gradients: Gradients | None
) -> Results:
    """All that a module computes of a case, by name; without `gradients` only inference."""
    hx = _states(case, rows_of(x)) if case.decodes else None
    with torch.no_grad():
        output, (h_n, c_n) = module(x, hx)
    found = {"output without grad": rows_of(output), "h_n without grad": h_n}
    found["c_n without grad"] = c_n
    if gradients is None:
        return found
    leaf = rows_of(x).detach().requires_grad_()
    output, (h_n, c_n) = module(
        x._replace(data=leaf) if isinstance(x, PackedSequence) else leaf, hx
    )
    outputs = {"output": rows_of(output), "h_n": h_n, "c_n": c_n}
    generator = torch.Generator().manual_seed(2)
    arriving = [torch.randn(y.shape, generator=generator).to(y) for y in outputs.values()]
    module.zero_grad()
    torch.autograd.backward(list(outputs.values()), arriving)
    found |= {name: y.detach() for name, y in outputs.items()}
    assert leaf.grad is not None
    return (
        found | {"grad input": leaf.grad} | {f"grad {k}": v for k, v in gradients(module).items()}
    )


def _states(case: Case, like: Tensor) -> tuple[Tensor, Tensor]:
    """Some h_0 and c_0, the same on every call."""
    generator = torch.Generator().manual_seed(3)
    shape = (case.layers * case.directions, case.B, case.H)
    h_0, c_0 = (torch.randn(shape, generator=generator).to(like) for _ in range(2))
    return h_0, c_0


def expected_results(case: Case, device: str) -> tuple[Results, dict[str, float]]:
    """What is right, and by name how far a provider may be off."""
    peer, x = case.make_lstm(device), case.make_input(device, False)
    own = results(peer, case, x, parameter_gradients)
    if case.dtype in ("float32", "float64"):
        expected = own
    else:
        wide = x._replace(data=x.data.float()) if isinstance(x, PackedSequence) else x.float()
        expected = results(peer.float(), case, wide, parameter_gradients)
    dtype = DTYPES[case.dtype]
    eps = TF32_EPS if uses_tf32(device, dtype) else torch.finfo(dtype).eps
    for name, right in expected.items():
        if not (right.isfinite().all() and own[name].isfinite().all()):
            raise RuntimeError(f"{case}: nn.LSTM itself gives a {name} that is not finite")
    errors = {name: relative_error(own[name], right.double()) for name, right in expected.items()}
    return expected, {name: max(math.sqrt(eps), SLACK * e) for name, e in errors.items()}


def refusal(
    provider: Provider,
    module: nn.Module,
    case: Case,
    device: str,
    expected: tuple[Results, dict[str, float]],
) -> str | None:
    """None if the results are right, else the words that say which is most wrong."""
    gradients = provider.gradients if provider.trains else None
    got = results(module, case, case.make_input(device, False), gradients)
    right, allowed = expected
    if provider.rounds_to is not None:
        digits = math.sqrt(torch.finfo(DTYPES[provider.rounds_to]).eps)
        allowed = {name: max(error, digits) for name, error in allowed.items()}
    names = [name for name in right if provider.trains or name.endswith("without grad")]
    missing = [name for name in names if name not in got]
    if missing:
        return f"it has no {missing[0]}"
    for name in names:
        if got[name].dtype != DTYPES[case.dtype] or got[name].device.type != device:
            return f"{name} is {got[name].dtype} on {got[name].device}"
    errors = {name: relative_error(got[name], right[name].double()) for name in names}
    worst = max(names, key=lambda name: errors[name] / allowed[name])
    if errors[worst] <= allowed[worst]:
        return None
    return (
        f"{worst} differs by {errors[worst]:.1e} of its largest value, {allowed[worst]:.0e} allowed"
    )
