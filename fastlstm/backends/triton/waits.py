"""Whether a program of a persistent kernel waited in vain for another: found without a sync."""

from __future__ import annotations

from functools import cache

import torch


class Waits:
    """One device's word that ends all waits, and its copy on the host.

    A program that has waited too long sets `abort`; then no program waits any more, and what it
    computes of words that are not there is NaN. The word is copied to the host after each launch
    and read there before the next: like CUDA's own errors, it comes late, and surely.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.abort = torch.zeros(1, dtype=torch.int32, device=device)
        self.sm90 = device.type != "cuda" or torch.cuda.get_device_capability(device)[0] >= 9
        self._seen = torch.zeros(1, dtype=torch.int32, pin_memory=device.type == "cuda")

    @staticmethod
    @cache
    def of(device: torch.device) -> Waits:
        """The waits of a device."""
        return Waits(device)

    def report(self) -> None:
        """Has the word copied to the host, once what was launched is done."""
        self._seen.copy_(self.abort, non_blocking=True)

    def check(self) -> None:
        """Raises RuntimeError if a wait before was in vain; what comes after starts afresh."""
        if not self._seen.item():
            return
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.abort.zero_()
        self._seen.zero_()
        raise RuntimeError(
            f"backend='triton': an LSTM kernel on {self.device} waited in vain for another of its "
            "programs, and gave up; results of LSTM calls since then are NaN. Its programs must "
            "run at the same time: is something else stopping the GPU? backend='aten' has no such "
            "need."
        )
