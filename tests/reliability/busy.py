"""Calls of two threads on a machine that is busy with other things: the slowest of each shape.

As a script, with SHOW=1: the median and the slowest call in ms, alone and beside as many spinning
processes, of ours and of nn.LSTM.
"""

import os
import statistics
import subprocess
import sys
import time

import torch

from fastlstm.verify import Case, make_inputs, make_ours, make_peer

CASES = {
    "units-shared": Case(35, 3, 200, 200),
    "rows-shared": Case(35, 40, 100, 100),
    "layers-shared": Case(200, 1, 64, 64, layers=2),
}
ROUNDS = int(os.environ.get("ROUNDS", "300"))
SHOW = "SHOW" in os.environ


def seconds(lstm, x, rounds):
    """The time of each of some training steps."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        y, _ = lstm(x)
        y.sum().backward()
        times.append(time.perf_counter() - start)
    return times


def times_of(case, who):
    """The seconds of all calls, alone where that is shown, and beside spinning processes."""
    x, peer = make_inputs(case)["input"].requires_grad_(), make_peer(case)
    lstm = make_ours(peer, "cpu") if who == "ours" else peer
    seconds(lstm, x, 5)
    alone = seconds(lstm, x, ROUNDS) if SHOW else []
    others = spinning(4)
    try:
        return alone, seconds(lstm, x, ROUNDS)
    finally:
        for other in others:
            other.kill()
            other.wait()


def spinning(count):
    code = f"import os\nwhile os.getppid() == {os.getpid()}: pass"
    return [subprocess.Popen([sys.executable, "-c", code]) for _ in range(count)]


def main():
    torch.set_num_threads(2)
    for name, case in CASES.items():
        for who in ("ours", "nn.LSTM") if SHOW else ("ours",):
            alone, busy = times_of(case, who)
            if SHOW:
                ms = [f"{1e3 * f(t):8.2f}" for t in (alone, busy) for f in (statistics.median, max)]
                print(f"{name:14}{who:8}", *ms, flush=True)
            else:
                print(name, max(busy))


if __name__ == "__main__":
    main()
