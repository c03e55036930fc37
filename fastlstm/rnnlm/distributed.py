"""Several processes that train one model: `torchrun --nproc-per-node N -m fastlstm train TEXT`.

Each process trains a block of the batch's streams with the same weights. The first one alone prints
and writes. All must take the same decisions at the same step, or they wait for each other forever:
what depends on a clock, a signal or an evaluation is agreed on by `clock`, `any_process` and
`from_first`, which all processes call in the same order.

Without torchrun there is one process, and these functions do nothing.
"""

import os
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

LAUNCHED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # torchrun sets them
PATIENCE = timedelta(days=1)  # the others wait while the first one evaluates; a dead one is noticed
STORE_PATIENCE = timedelta(seconds=10)

T = TypeVar("T")


def launched() -> bool:
    """Whether torchrun started this process as one of several."""
    return all(name in os.environ for name in LAUNCHED) and int(os.environ["WORLD_SIZE"]) > 1


def processes() -> int:
    """How many train together: 1 before `join`."""
    return dist.get_world_size() if _joined() else 1


def rank() -> int:
    """Which of the processes this one is."""
    if _joined():
        return dist.get_rank()
    return int(os.environ["RANK"]) if launched() else 0


def is_first() -> bool:
    """Whether this process is the one that prints and writes."""
    return rank() == 0


def join(device: torch.device, batch: int) -> torch.device:
    """Meet the processes that are to share `batch` streams; the device of this one.

    ValueError where they cannot be shared evenly, RuntimeError where there is no such device.
    """
    if not launched():
        return device
    count = int(os.environ["WORLD_SIZE"])
    if batch % count:
        raise ValueError(
            f"--batch must be a multiple of {count}, the number of processes, got {batch}"
        )
    if device.type != "cuda":
        dist.init_process_group("gloo", timeout=PATIENCE)
        return device
    local, devices = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if local >= devices:
        raise RuntimeError(
            f"--device cuda: process {local} of this machine has no CUDA device, there are "
            f"{devices}; start as many processes as devices"
        )
    torch.cuda.set_device(local)
    # gloo for what is agreed on, so that waiting for it keeps no GPU busy
    dist.init_process_group("cpu:gloo,cuda:nccl", timeout=PATIENCE)
    return torch.device("cuda", local)


def leave() -> None:
    """Part with the others, once all are done."""
    if _joined():
        any_process(False)
        dist.destroy_process_group()


def any_process(flag: bool) -> bool:
    """Whether `flag` is set in any process."""
    if processes() == 1:
        return flag
    flags = torch.tensor(int(flag))
    dist.all_reduce(flags, dist.ReduceOp.MAX)
    return bool(flags)


def from_first(make: Callable[[], T]) -> T:
    """What `make` returns in the first process, in all of them; the others do not call it."""
    if processes() == 1:
        return make()
    box: list[Any] = [make() if is_first() else None]
    dist.broadcast_object_list(box, 0, device=torch.device("cpu"))
    made: T = box[0]
    return made


def clock() -> float:
    """Seconds by the first process's `time.monotonic`."""
    return from_first(time.monotonic)


def all_streams(part: Tensor, dim: int) -> Tensor:
    """A tensor of all streams, which lie along `dim`, of those of each process."""
    if processes() == 1:
        return part
    part = part.contiguous()
    parts = [torch.empty_like(part) for _ in range(processes())]
    dist.all_gather(parts, part)
    return torch.cat(parts, dim)


def own_streams(whole: Tensor, dim: int) -> Tensor:
    """The part of this process: the inverse of `all_streams`."""
    return whole.chunk(processes(), dim)[rank()].contiguous() if processes() > 1 else whole


def is_first_failure() -> bool:
    """Whether no other process has asked this before: what befalls them follows from ours."""
    if not (launched() and dist.is_torchelastic_launched()):
        return True
    try:
        store, *_ = next(rendezvous("env://", timeout=STORE_PATIENCE))
        return bool(store.add("fastlstm/failures", 1) == 1)
    except (RuntimeError, ValueError):  # torchrun itself is gone
        return True


def _joined() -> bool:
    return dist.is_available() and dist.is_initialized()
