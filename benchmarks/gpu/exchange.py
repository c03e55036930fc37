"""What one exchange between programs costs: `python benchmarks/gpu/exchange.py`.

Programs in a ring: at each step each tells its words, and waits for those of its neighbour, as the
persistent kernels do. Microseconds a step, without the fill of the memory, by number of programs;
beside it the same with a counter, release and acquire. The design stands on less than 0.6 us at 64.

Exit codes: 0 measured and the words were right, 1 they were not, 77 there is no GPU.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable

import torch
import triton
import triton.language as tl
from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from fastlstm.backends.triton.kernels.exchange import receive, request, tell

NOTHING = 77
STEPS, WORDS, ROUNDS, TRIES = 2000, 512, 7, gl.constexpr(1 << 20)


@gluon.jit
def words_ring(words_ptr, abort_ptr, T, G, SM90: gl.constexpr):
    """Steps of a ring of G programs, `words_ptr [T, G, 512]` float32, all ones before."""
    layout: gl.constexpr = gl.BlockedLayout([4], [32], [4], [0])
    place = gl.arange(0, 512, layout=layout)
    own = gl.program_id(0)
    neighbour = (own + 1) % G
    value = (place * 0 + own).to(gl.float32)
    abort = abort_ptr.to(gl.int64)
    for t in range(T):
        tell(words_ptr + (t * G + own) * 512 + place, value, place >= 0, 4)
        told = words_ptr + (t * G + neighbour) * 512 + place
        value = receive(request(told, 4), told, abort, 4, TRIES, SM90) * 0.5 + 1.0


@triton.jit
def counter_ring(words_ptr, counter_ptr, T, G, WORDS: tl.constexpr):
    """The same, with one counter that all add to and wait for."""
    place = tl.arange(0, WORDS)
    own = tl.program_id(0)
    neighbour = (own + 1) % G
    value = (place * 0 + own).to(tl.float32)
    for t in range(T):
        tl.store(words_ptr + (t * G + own) * WORDS + place, value)
        tl.debug_barrier()
        tl.atomic_add(counter_ptr, 1, sem="release", scope="gpu")
        while tl.atomic_add(counter_ptr, 0, sem="acquire", scope="gpu") < (t + 1) * G:
            pass
        told = words_ptr + (t * G + neighbour) * WORDS + place
        value = tl.load(told, cache_modifier=".cg") * 0.5 + 1.0


def expected(programs: int, steps: int) -> torch.Tensor:
    """What each program tells at the last step."""
    values = torch.arange(programs, dtype=torch.float32)
    for _ in range(steps - 1):
        values = values.roll(-1) * 0.5 + 1.0
    return values


def microseconds(launch: Callable[[], None], prepare: Callable[[], None]) -> float:
    """The median time of a step."""
    times = []
    for _ in range(ROUNDS):
        prepare()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        launch()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) * 1e3 / STEPS)
    return statistics.median(times)


def measure(programs: int) -> tuple[float, float, bool]:
    """Microseconds a step by words and by counter, and whether the words were right."""
    words = torch.empty(STEPS, programs, WORDS, device="cuda")
    abort = torch.zeros(1, dtype=torch.int32, device="cuda")
    counter = torch.zeros_like(abort)
    sm90 = torch.cuda.get_device_capability()[0] >= 9
    options = {"num_warps": 4, "launch_cooperative_grid": True}
    by_words = microseconds(
        lambda: words_ring[(programs,)](words, abort, STEPS, programs, SM90=sm90, **options),
        lambda: words.view(torch.int32).fill_(-1),
    )
    right = torch.equal(words[-1, :, 0].cpu(), expected(programs, STEPS)) and not abort.item()
    by_counter = microseconds(
        lambda: counter_ring[(programs,)](words, counter, STEPS, programs, WORDS=WORDS, **options),
        lambda: counter.zero_(),
    )
    return by_words, by_counter, right


def main() -> int:
    if not torch.cuda.is_available():
        print("no GPU here: nothing to measure")
        return NOTHING
    most = torch.cuda.get_device_properties(0).multi_processor_count
    wrong = []
    for programs in [n for n in (2, 8, 16, 32, 64, 128) if n <= most]:
        by_words, by_counter, right = measure(programs)
        print(f"{programs:4} programs: {by_words:.3f} us a step, {by_counter:.3f} by a counter")
        wrong += [] if right else [programs]
    if wrong:
        print(f"wrong words with {wrong} programs")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
