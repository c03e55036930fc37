"""fastlstm.LSTM against nn.LSTM in one process: `python benchmarks/layer.py [--threads N]`.

Both run in turn, A B A B, on the same weights and input; their results are compared before any time
is taken. The ratio is the median of the rounds' ratios. Beside it stands the roofline share, FLOP/s
over those of a large GEMM, measured here too. Rows go to benchmarks/results/ with their conditions.
"""

from __future__ import annotations

import argparse
import csv
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import fastlstm
from fastlstm.backends import cpu

# (I, H, L, B, T): input, hidden, layers, batch, time
SHAPES = [
    (128, 128, 2, 50, 50),
    (64, 64, 1, 1, 100),
    (128, 128, 1, 32, 64),
    (256, 256, 1, 1, 128),
    (256, 256, 1, 20, 35),
    (512, 512, 1, 32, 64),
    (200, 200, 2, 20, 20),
    (650, 650, 2, 20, 35),
    (32, 32, 1, 256, 128),
    (128, 128, 2, 1, 1),
]
RAGGED = [(128, 128, 1, 32, 64), (256, 256, 1, 16, 100)]  # packed, lengths from T down to T / 8
ROUNDS = 15
RESULTS = Path(__file__).parent / "results"


def seconds(call: Callable[[], object], repeats: int = 1) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def gemm_flops() -> float:
    """FLOP/s of a large float32 GEMM, the best of several."""
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    return 2 * 2048**3 / min(seconds(lambda: a @ b) for _ in range(12))


def interleave(calls: list[Callable[[], object]]) -> list[list[float]]:
    """Seconds of each call in each round, the calls in turn, each for at least 20 ms."""
    repeats = [max(1, int(0.02 / max(seconds(call), seconds(call)))) for call in calls]
    rounds = [[seconds(c, n) for c, n in zip(calls, repeats, strict=True)] for _ in range(ROUNDS)]
    return [list(times) for times in zip(*rounds, strict=True)]


def rows_of(output: torch.Tensor | PackedSequence) -> torch.Tensor:
    """The output's tensor, padded or packed."""
    return output.data if isinstance(output, PackedSequence) else output


def results(module: nn.Module, x: torch.Tensor | PackedSequence) -> list[torch.Tensor]:
    """Output, states and the gradient of every parameter."""
    output, (h_n, c_n) = module(x)
    gradients = torch.autograd.grad(rows_of(output).mean(), module.parameters())
    return [rows_of(output), h_n, c_n, *gradients]


def passes(module: nn.Module, x: torch.Tensor | PackedSequence) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""

    def inference() -> None:
        with torch.no_grad():
            module(x)

    def forward_backward() -> None:
        module.zero_grad()
        output = rows_of(module(x)[0])
        output.backward(torch.ones_like(output))

    return {"inference": inference, "forward+backward": forward_backward}


def measure(shape: tuple[int, ...], ragged: bool, peak: float) -> list[dict[str, object]]:
    """The rows of one shape; AssertionError if the two modules do not agree."""
    I, H, L, B, T = shape
    peer, ours = nn.LSTM(I, H, L), fastlstm.LSTM(I, H, L)
    ours.load_state_dict(peer.state_dict())
    x: torch.Tensor | PackedSequence = torch.randn(T, B, I)
    lengths = torch.linspace(T, T // 8, B).long() if ragged else torch.full((B,), T)
    if ragged:
        x = pack_padded_sequence(x, lengths)
    torch.testing.assert_close(results(ours, x), results(peer, x), rtol=1e-3, atol=1e-5)
    flops = sum(8 * int(lengths.sum()) * H * ((H if layer else I) + H) for layer in range(L))
    rows = []
    for name, ours_call in passes(ours, x).items():
        own, other = interleave([ours_call, passes(peer, x)[name]])
        ratio = statistics.median(b / a for a, b in zip(own, other, strict=True))
        own_ms = statistics.median(own) * 1e3
        share = flops * (3 if "backward" in name else 1) / own_ms * 1e3 / peak
        text = f"{shape!s:24} {'ragged' if ragged else 'padded'} {name:17} {ratio:5.2f}x"
        print(f"{text} {own_ms:9.3f} ms {share:4.0%} of GEMM", flush=True)
        for provider, times in (("fastlstm", own), ("nn.LSTM", other)):
            p20, p50, p80 = (sorted(times)[int(q * len(times))] * 1e3 for q in (0.2, 0.5, 0.8))
            rows.append(
                {"provider": provider, "pass": name, "T": T, "B": B, "I": I, "H": H, "layers": L}
                | {"lengths": "ragged" if ragged else "padded", "dtype": "float32"}
                | {"metric": "time", "unit": "ms"}
                | {"p20": f"{p20:.4f}", "p50": f"{p50:.4f}", "p80": f"{p80:.4f}"}
                | {"ratio": f"{ratio:.3f}", "roofline_share": f"{share:.3f}"}
            )  # fmt: skip
    return rows


def conditions() -> dict[str, object]:
    """What the figures depend on."""
    models = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    git = ["git", "-C", str(RESULTS.parent), "describe", "--always", "--dirty"]
    return {
        "device": models[0].partition(": ")[2] if models else platform.machine(),
        "threads": torch.get_num_threads(),
        "cpu_isa": cpu.isa(),
        "torch": torch.__version__,
        "fastlstm": fastlstm.__version__,
        "commit": subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip(),
        "date": date.today().isoformat(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    torch.set_num_threads(parser.parse_args().threads)
    torch.manual_seed(0)
    RESULTS.mkdir(exist_ok=True)
    peak = gemm_flops()
    where = conditions()
    print(", ".join(f"{k} {v}" for k, v in where.items()), f"\nGEMM {peak / 1e9:.0f} GFLOP/s")
    cases = [(shape, False) for shape in SHAPES] + [(shape, True) for shape in RAGGED]
    rows = [row | where for shape, ragged in cases for row in measure(shape, ragged, peak)]
    path = RESULTS / f"layer-{where['cpu_isa']}-{where['threads']}threads-{where['date']}.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    print(path)


if __name__ == "__main__":
    main()
