"""torch's generators of random numbers: a state of its own for each process, saved and restored."""

from collections.abc import Mapping

import torch
from torch import Tensor

from fastlstm.rnnlm.distributed import all_streams, processes, rank
from fastlstm.rnnlm.training_options import SEEDS

STRIDE = 1_000_003  # between the seeds of one step and the next


def seed_process(seed: int, step: int) -> None:
    """Have each process but the first draw numbers of its own, so that dropout differs."""
    if rank() > 0:
        torch.manual_seed((seed + rank() + STRIDE * step) % SEEDS)


def generator_states(device: torch.device) -> dict[str, Tensor]:
    """The states by `cpu` and `cuda`, those of process 1 by `cpu.1` and so on."""
    own = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        own["cuda"] = torch.cuda.get_rng_state()
    states = {}
    for name, state in own.items():
        for process, part in enumerate(all_streams(state[None], 0)):
            states[_key(name, process)] = part
    return states


def set_generators(
    states: Mapping[str, Tensor], device: torch.device, seed: int, step: int
) -> None:
    """Put the generators where they were; where there were more or fewer processes, the first."""
    saved = sum(name == "cpu" or name.startswith("cpu.") for name in states)
    if saved != processes() and rank() > 0:
        seed_process(seed, step)
        return
    torch.set_rng_state(states[_key("cpu", rank())])
    cuda = _key("cuda", rank())
    if cuda in states and device.type == "cuda":
        torch.cuda.set_rng_state(states[cuda])


def _key(name: str, process: int) -> str:
    return f"{name}.{process}" if process else name
