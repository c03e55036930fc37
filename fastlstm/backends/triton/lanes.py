"""Streams on which the layers of a stack run beside each other."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from types import TracebackType

import torch
from torch import Tensor


@cache
def _streams(device: torch.device, beside: int, count: int) -> tuple[torch.cuda.Stream, ...]:
    """Kept for each stream that calls: every stream has memory of its own in torch's allocator."""
    return tuple(torch.cuda.Stream(device) for _ in range(count))  # type: ignore[no-untyped-call]


class Lanes:
    """A stream for each of `count` layers; with one chunk, or on a CPU, the current stream.

    At the end of its block the current stream waits for all.

    What is allocated in a lane may be used in that lane only, but for what `hand_over` was told.
    """

    def __init__(self, device: torch.device, count: int, chunks: int) -> None:
        self._streams: list[torch.cuda.Stream] = []
        self._done: dict[tuple[int, int], torch.cuda.Event] = {}
        if chunks > 1 and device.type == "cuda":
            self._main = torch.cuda.current_stream(device)
            self._streams = list(_streams(device, self._main.cuda_stream, count))
            for stream in self._streams:
                stream.wait_stream(self._main)

    def on(self, lane: int) -> AbstractContextManager[object]:
        """Within it, work goes to a lane."""
        return torch.cuda.stream(self._streams[lane]) if self._streams else nullcontext()

    def done(self, lane: int, chunk: int) -> None:
        """The lane's work on a chunk has been launched."""
        if self._streams:
            self._done[lane, chunk] = self._streams[lane].record_event()

    def after(self, lane: int, other: int, chunk: int) -> None:
        """What follows in a lane waits for another lane's work on a chunk."""
        if self._streams and (other, chunk) in self._done:
            self._streams[lane].wait_event(self._done[other, chunk])

    def hand_over(self, tensors: list[Tensor]) -> list[Tensor]:
        """Tensors of a lane that the current stream will use."""
        if self._streams:
            for tensor in tensors:
                tensor.record_stream(self._main)
        return tensors

    def __enter__(self) -> Lanes:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """The current stream waits for all lanes, whatever happened."""
        for stream in self._streams:
            self._main.wait_stream(stream)
