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


def measure(rounds=ROUNDS):
    """By shape and module, the seconds of all calls."""
    found = {}
    for name, case in CASES.items():
        x = make_inputs(case)["input"].requires_grad_()
        peer = make_peer(case)
        for who, lstm in {"ours": make_ours(peer, "cpu"), "nn.LSTM": peer}.items():
            if SHOW or who == "ours":
                seconds(lstm, x, 5)
                found[name, who] = seconds(lstm, x, rounds)
    return found


def spinning(count):
    code = "while True: pass"
    return [subprocess.Popen([sys.executable, "-c", code]) for _ in range(count)]


if __name__ == "__main__":
    torch.set_num_threads(2)
    alone = measure() if SHOW else {}
    others = spinning(4)
    try:
        busy = measure()
    finally:
        for other in others:
            other.kill()
    for (name, who), times in busy.items():
        if SHOW:
            pairs = (alone[name, who], times)
            cells = [f"{1e3 * f(t):8.2f}" for t in pairs for f in (statistics.median, max)]
            print(f"{name:14}{who:8}", *cells)
        else:
            print(name, max(times))
