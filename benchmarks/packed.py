"""Time packed input beside padded input of the same work; print a table.

    python benchmarks/packed.py                     H of 128 and 512, T from 50 to 800
    python benchmarks/packed.py --hidden 128 --steps 100 --budget 5

Ratios are packed over padded time, of one module, in the same round: above 1, packed is slower.
"equal": a PackedSequence whose lengths are all T. "ragged": lengths from T down to T / 8, its time
by its own FLOPs. Packing and unpacking are not timed: the input is packed, the output left so.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from fastlstm.bench.case import INFERENCE, TRAINING, Case
from fastlstm.bench.conditions import conditions, describe
from fastlstm.bench.layer import make_call
from fastlstm.bench.timing import Effort, interleave, shown_ratio
from fastlstm.verify import make_ours

B = 32
LINE = "{:<20} {:<17} {:<9} {:>10} {:>18} {:>18}"


class Packed(Case):
    """A case whose input is packed, though it is not ragged."""

    def make_input(self, device: str, requires_grad: bool) -> PackedSequence:
        x = Case(self.I, self.H, self.layers, self.B, self.T).make_input(device, False)
        packed = pack_padded_sequence(x, self.lengths())
        return packed._replace(data=packed.data.requires_grad_(requires_grad))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hidden", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--steps", type=int, nargs="+", default=[50, 100, 200, 400, 800])
    parser.add_argument("--threads", type=int, help="torch's own number if not given")
    parser.add_argument("--budget", type=float, default=10.0, help="seconds of each measurement")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    effort = Effort(rounds=31, sample=0.02, budget=options.budget, slow=float("inf"))
    print(describe(conditions("cpu")))
    print(LINE.format("shape", "", "", "padded", "equal / padded", "ragged / padded"))
    for hidden in options.hidden:
        for steps in options.steps:
            case = Case(hidden, hidden, 1, B, steps)
            for measure in (INFERENCE, TRAINING):
                for line in lines(case, measure, effort):
                    print(line, flush=True)


def lines(case: Case, measure: str, effort: Effort) -> list[str]:
    """A row for nn.LSTM and one for ours: all six calls take turns."""
    peer = case.make_lstm("cpu")
    equal = Packed(case.I, case.H, case.layers, case.B, case.T)
    cases = case, equal, replace(equal, ragged=True)
    with torch.no_grad() if measure == INFERENCE else nullcontext():
        modules = peer, make_ours(peer)
        calls = [make_call(module, own, measure, "cpu") for module in modules for own in cases]
        times = interleave(calls, effort, "cpu")
    work = [own.flops(measure) for own in cases]
    rows = []
    for name, first in (("nn.LSTM", 0), ("fastlstm", 3)):
        padded, *packed = times[first : first + 3]
        ratios = [
            shown_ratio(own, padded, work[0] / w) for own, w in zip(packed, work[1:], strict=True)
        ]
        milliseconds = f"{1e3 * statistics.median(padded):.2f} ms"
        rows.append(LINE.format(str(case), measure, name, milliseconds, *ratios))
    return rows


if __name__ == "__main__":
    main()
