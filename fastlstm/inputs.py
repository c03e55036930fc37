"""What a call's tensors say of it: dtypes, devices, who is to see it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def is_per_sample(weights: Sequence[Tensor]) -> bool:
    """Whether `call_for_per_sample_grads` runs: of such weights only products are known."""
    return type(weights[0]).__name__ == "ExpandedWeight"


def needs_gradient(x: Tensor, h_0: Tensor, c_0: Tensor, weights: Sequence[Tensor]) -> bool:
    """Whether autograd is to see a call with these."""
    if not torch.is_grad_enabled():
        return False
    return any(tensor.requires_grad for tensor in (weights[0], x, h_0, c_0, *weights[1:]))


def broadcast_biases(weights: Sequence[Tensor], arity: int) -> Sequence[Tensor]:
    """`weights`, where a bias ``[1]``, which nn.LSTM takes, is ``[4H]`` as the other one.

    `arity` is how many of them a direction has: at least 4, with both biases.
    """
    if all(weights[d + 2].numel() == weights[d + 3].numel() for d in range(0, len(weights), arity)):
        return weights
    broadcast = list(weights)
    for d in range(0, len(weights), arity):
        longest = max(bias.numel() for bias in weights[d + 2 : d + 4])
        broadcast[d + 2 : d + 4] = (bias.expand(longest) for bias in weights[d + 2 : d + 4])
    return broadcast


def alike(x: Tensor, *others: Tensor) -> bool:
    """Whether all have the dtype and the device of x."""
    dtype = x.dtype
    if x.is_cpu:  # in a third of the time
        return all(t.dtype is dtype and t.is_cpu for t in others)
    return all(t.dtype is dtype and t.device == x.device for t in others)


def is_even(batch_sizes: Tensor | None) -> bool:
    """Whether it is a packed batch, all sequences of which are known to be of one length."""
    if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
        return False
    if type(batch_sizes) is not Tensor:  # None, or without data
        return False
    return len(batch_sizes) > 0 and bool(batch_sizes[0] == batch_sizes[-1])


def autocast(
    x: Tensor, h_0: Tensor, c_0: Tensor, weights: Sequence[Tensor], packed: bool
) -> tuple[Tensor, Tensor, Tensor, Sequence[Tensor]]:
    """The arguments in the dtype that autocast gives nn.LSTM."""
    device = x.device.type
    if not (torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)):
        return x, h_0, c_0, weights
    if x.dtype == torch.float64 or (packed and device == "cpu"):  # as autocast does nothing there
        return x, h_0, c_0, weights
    dtype = torch.get_autocast_dtype(device)
    return x.to(dtype), h_0.to(dtype), c_0.to(dtype), [w.to(dtype) for w in weights]


def check_two(hx: tuple[Tensor, Tensor]) -> None:
    """RuntimeError, as of nn.LSTM, unless hx is h_0 and c_0."""
    if len(hx) != 2:
        raise RuntimeError("lstm expects two hidden states")


def check_packed_state(hx: object) -> None:
    """The errors of nn.LSTM for an hx beside packed input that is no pair of tensors."""
    if not isinstance(hx, (tuple, list)):
        raise TypeError(f"hx must be a tuple of h_0 and c_0, got {type(hx).__name__}")
    for n, state in enumerate(hx):
        if not isinstance(state, Tensor):
            got = type(state).__name__
            raise TypeError(f"expected Tensor as element {n} in argument 2, but got {got}")
    check_two(hx)  # type: ignore[arg-type]
