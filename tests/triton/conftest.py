from functools import partial

import pytest
import torch
from standin import Launch

from fastlstm.backends.triton import persistent, plan


@pytest.fixture
def launches(monkeypatch):
    """The persistent kernels run on the CPU: the launches, and what to do to them."""
    made = Launches()
    monkeypatch.setattr(persistent, "plan_for", made.plan_for)
    monkeypatch.setattr(persistent, "_launch", made.launch)
    return made


class Launches(list):
    """Name, grid and polls of each launch.

    device: what plans are made for; wanted: makes them instead of `plan.choose`.
    faults: by name of a kernel and of a function of it, pairs of source and what is there instead.
    missing: programs that never come; order: of a grid's programs, see `standin.Turns`.
    """

    def __init__(self):
        self.device = plan.Device(132, 227 * 1024, 90)
        self.faults, self.missing, self.wanted, self.order = {}, (), None, None

    def plan_for(self, x, H, rows, directions, backward):
        choose = self.wanted or plan.choose
        return choose(H, rows.batch, directions, 8 * x.itemsize, self.device, backward)

    def launch(self, kernel, grid, together, **arguments):
        order = self.order(grid) if self.order else ()
        faults = self.faults.get(kernel.fn.__name__, {})
        done = Launch(kernel, grid, plan.WARPS, arguments, faults, self.missing, order)
        self.append((done.name, grid, done.polls))

    def kind(self, limit, backward=None):
        """Groups of this kind, forward in `limit`, backward too unless `backward` says another."""
        self.wanted = partial(_of_kind, limit, backward or limit)


def _of_kind(forward, backward, H, batch, directions, bits, device, is_backward):
    limit = backward if is_backward else forward
    return plan.cut(H, batch, directions, bits, limit, is_backward)


@pytest.fixture
def poisoned(monkeypatch):
    """What is allocated is NaN: an element that nothing wrote shows."""
    for owner, name in ((torch, "empty"), (torch, "empty_like"), (torch.Tensor, "new_empty")):
        monkeypatch.setattr(owner, name, _poisoning(getattr(owner, name)))


def _poisoning(allocate):
    def poisoned(*args, **kwargs):
        tensor = allocate(*args, **kwargs)
        return tensor.fill_(torch.nan) if tensor.is_floating_point() else tensor

    return poisoned
