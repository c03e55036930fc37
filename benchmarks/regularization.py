"""Time an LSTM with dropout on h and with zoneout beside one without; print a table.

    python benchmarks/regularization.py             four shapes, forward and backward
    python benchmarks/regularization.py --threads 1 --budget 5

Times over that of `fastlstm.LSTM` without either, in the same round: above 1, slower. "loop" is
zoneout as one writes it in PyTorch: a `torch.nn.LSTMCell` for each step, and `torch.where`.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fastlstm import LSTM
from fastlstm.bench.conditions import conditions, describe
from fastlstm.bench.timing import Effort, interleave, shown_ratio

SHAPES = ((128, 32, 64), (200, 20, 35), (512, 32, 64), (64, 1, 100))  # H, B, T
LINE = "{:<18} {:>10} {:>18} {:>18} {:>18} {:>18}"
RATE = 0.1


class Loop(nn.Module):
    """Zoneout of c and h step by step (Krueger et al. 2017)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(size, size)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """``y [T, B, H]`` and the states."""
        h = c = x.new_zeros(x.shape[1], self.cell.hidden_size)
        ys = []
        for step in x:
            states = self.cell(step, (h, c))
            h, c = (
                torch.where(torch.rand_like(new) < RATE, old, new)
                for new, old in zip(states, (h, c), strict=True)
            )
            ys.append(h)
        return torch.stack(ys), (h, c)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, help="torch's own number if not given")
    parser.add_argument("--budget", type=float, default=10.0, help="seconds of each measurement")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    effort = Effort(rounds=31, sample=0.02, budget=options.budget, slow=float("inf"))
    print(describe(conditions("cpu")))
    print(LINE.format("forward+backward", "without", "dropout on h", "zoneout", "nn.LSTM", "loop"))
    for shape in SHAPES:
        print(line(*shape, effort), flush=True)


def line(hidden: int, batch: int, steps: int, effort: Effort) -> str:
    """All modules take turns on one shape."""
    modules = (
        LSTM(hidden, hidden),
        LSTM(hidden, hidden, recurrent_dropout=RATE),
        LSTM(hidden, hidden, zoneout=RATE),
        nn.LSTM(hidden, hidden),
        Loop(hidden),
    )
    x = torch.randn(steps, batch, hidden, requires_grad=True)

    def call(module: nn.Module) -> None:
        module(x)[0].sum().backward()

    calls = [lambda module=module: call(module) for module in modules]
    plain, *others = interleave(calls, effort, "cpu")
    ratios = [shown_ratio(times, plain) for times in others]
    return LINE.format(
        f"H{hidden} B{batch} T{steps}", f"{1e3 * statistics.median(plain):.2f} ms", *ratios
    )


if __name__ == "__main__":
    main()
