"""What a call tells the C++ kernels: sizes, addresses, noise, and where forward saves."""

from __future__ import annotations

import torch
from torch import Tensor

from fastlstm.backends.cpu_memory import new
from fastlstm.noise import Noise


def saved(
    x: Tensor, num_layers: int, rows: int, features: int, width: int, drops: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    """What forward saves beside y, uninitialised: below, c and gates."""
    c = new(x, (num_layers, rows, width), torch.float32)
    gates = new(x, (num_layers, rows, 4 * width))
    count = num_layers - 1 + num_layers * drops
    below = new(x, (count, rows, features)) if count else None
    return below, c, gates


def addresses_below(below: Tensor | None, num_layers: int, drops: bool) -> tuple[int, int]:
    """The addresses of y of all layers but the last, and of h as it was dropped."""
    if below is None:
        return 0, 0
    return below.data_ptr(), below[num_layers - 1].data_ptr() if drops else 0


def noise_arguments(noise: Noise) -> tuple[tuple[float, ...], int | None]:
    """Rates and Seed in csrc/python/calls.h."""
    return noise.rates, None if noise.seed is None else int(noise.seed)


def address(tensor: Tensor | None) -> int:
    """Where a tensor's elements are; 0 where there is none."""
    return 0 if tensor is None else tensor.data_ptr()


def sizes(
    x: Tensor,
    h_0: Tensor,
    c_0: Tensor,
    weights: int,
    offsets: Tensor | None,
    num_layers: int,
    rows: Tensor | None,
) -> tuple[int, ...]:
    """Sizes::Numbers in csrc/python/calls.h. `offsets` and `rows` must outlive the call."""
    states, batch, hidden = c_0.shape
    steps = x.shape[0] if offsets is None else offsets.shape[0] - 1  # None: a padded batch
    projection = h_0.shape[2] if weights // states % 2 else 0
    directions, threads = states // num_layers, torch.get_num_threads()
    numbers = steps, batch, x.shape[-1], hidden, projection, directions
    map_and_room = (0, 0) if rows is None else (rows.data_ptr(), x.shape[0])
    return *numbers, address(offsets), threads, num_layers, *map_and_room
