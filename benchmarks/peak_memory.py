"""Peak memory of inference and of a training step, ours beside nn.LSTM, each in its own process.

`python benchmarks/peak_memory.py`: MiB by which the resident size grows above what was there
before, at its peak.
"""

import subprocess
import sys

import torch

from fastlstm.bench.memory import peak_bytes
from fastlstm.verify import Case, make_inputs, make_ours, make_peer

CASES = (
    Case(35, 20, 200, 200, layers=2),
    Case(64, 32, 512, 512),
    Case(128, 128, 128, 128, bidirectional=True),
    Case(512, 16, 256, 256, layers=3),
    Case(1000, 64, 64, 64),
)


def measure(who, number, trains):
    """The peak of the second of two calls."""
    case = CASES[number]
    torch.set_num_threads(1)
    peer, x = make_peer(case), make_inputs(case)["input"].requires_grad_()
    lstm = make_ours(peer, "cpu") if who == "ours" else peer

    def step():
        with torch.set_grad_enabled(trains):
            y, _ = lstm(x)
        if trains:
            torch.autograd.grad(y.sum(), [x, *lstm.parameters()])

    first = peak_bytes(step, "cpu")  # packed weights and workspace are kept from then on
    return max(first, peak_bytes(step, "cpu"))


def main():
    if len(sys.argv) > 1:
        who, number, trains = sys.argv[1:]
        print(measure(who, int(number), trains == "1"))
        return
    for number, case in enumerate(CASES):
        cells = []
        for trains in "01":
            for who in ("ours", "nn.LSTM"):
                command = [sys.executable, __file__, who, str(number), trains]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                cells.append(f"{int(done.stdout) / 2**20:.1f}")
        print(f"| {case} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
