"""How much longer a layer takes where its numbers fade below the normal ones of float32.

`python benchmarks/subnormals.py`: the time of a call over that of the same call with larger
numbers, of ours and of nn.LSTM, on one thread; medians.
"""

import statistics
import time

import torch

from fastlstm.verify import Case, make_inputs, make_ours, make_peer

CASES = (Case(35, 20, 128, 128), Case(35, 1, 128, 128))
ROUNDS = 9


def seconds(lstm, x, hx, dy):
    """Of inference, and of a training step."""
    start = time.perf_counter()
    with torch.no_grad():
        lstm(x, hx)
    between = time.perf_counter()
    y, _ = lstm(x, hx)
    torch.autograd.grad(y, [x, *lstm.parameters()], dy)
    return between - start, time.perf_counter() - between


def scaled(case, weights, states, gradients):
    """A layer and a call of it, of numbers of some size."""
    peer, inputs = make_peer(case), make_inputs(case)
    with torch.no_grad():
        for parameter in peer.parameters():
            parameter.mul_(weights)
    hx = inputs["h_0"] * states, inputs["c_0"] * states
    x = (inputs["input"] * states).requires_grad_()
    return peer, (x, hx, inputs["d_output"] * gradients)


def main():
    torch.set_num_threads(1)
    kinds = {"faded": (1.0, 1e-39, 1e-39), "all products": (1e-20, 1e-20, 1e-39)}
    for case in CASES:
        for kind, sizes in kinds.items():
            for who in ("ours", "nn.LSTM"):
                times = {}
                for name, of in {"normal": (1.0, 1.0, 1.0), kind: sizes}.items():
                    peer, call = scaled(case, *of)
                    lstm = make_ours(peer, "cpu") if who == "ours" else peer
                    runs = [seconds(lstm, *call) for _ in range(ROUNDS)]
                    times[name] = [statistics.median(column) for column in zip(*runs, strict=True)]
                ratios = [
                    f"{b / a:8.2f}" for a, b in zip(times["normal"], times[kind], strict=True)
                ]
                print(f"{case}  {kind:13} {who:8} inference, training", *ratios, flush=True)


if __name__ == "__main__":
    main()
