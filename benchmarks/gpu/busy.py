"""Other work that keeps a device busy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch


@contextmanager
def load(device: str) -> Iterator[Callable[[], None]]:
    """Keeps the device busy with other work; the function it gives is to be called now and then."""
    if device == "cuda":
        feeders = [_queue(work) for work in _cuda_work()]

        def feed() -> None:
            for feeder in feeders:
                feeder()

        yield feed
        torch.cuda.synchronize()
        return
    stop = threading.Event()

    def multiply() -> None:
        matrix = torch.randn(512, 512)
        while not stop.is_set():
            torch.mm(matrix, matrix)

    thread = threading.Thread(target=multiply)
    thread.start()
    try:
        yield lambda: None
    finally:
        stop.set()
        thread.join()


def _cuda_work() -> tuple[Callable[[], object], ...]:
    """Two kinds of work of about 0.2 ms each: one for the multiprocessors, one for the memory."""
    matrix = torch.randn(4096, 4096).to("cuda", torch.bfloat16)
    product = torch.empty_like(matrix)
    memory = torch.zeros(2, 1 << 28, dtype=torch.uint8, device="cuda")
    return lambda: torch.mm(matrix, matrix, out=product), lambda: memory[0].copy_(memory[1])


def _queue(work: Callable[[], object]) -> Callable[[], None]:
    """A function after whose call at least a dozen pieces of work wait on a stream of their own."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    events = [torch.cuda.Event(), torch.cuda.Event()]

    def feed() -> None:
        while events[0].query():  # the batch before the last is done, or never was
            with torch.cuda.stream(stream):
                for _ in range(12):
                    work()
                events[0].record(stream)
            events.reverse()

    return feed
