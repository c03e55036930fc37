import pytest
from standin import Launch

from fastlstm.backends import triton
from fastlstm.backends.triton import persistent, plan


@pytest.fixture
def launches(monkeypatch):
    """The persistent kernels run on the CPU; a list of their launches, with what to do to them.

    `device` is what a plan is made for, `faults` and `missing` those of `Launch`.
    """
    made = Launches()
    monkeypatch.setattr(triton, "interpreted", lambda: True)
    monkeypatch.setattr(persistent, "plan_for", made.plan_for)
    monkeypatch.setattr(persistent, "_launch", made.launch)
    return made


class Launches(list):
    def __init__(self):
        self.device = plan.Device(132, 227 * 1024, 90)
        self.faults, self.missing, self.wanted = (), (), None

    def plan_for(self, x, H, rows, directions, backward):
        bits = 8 * x.itemsize
        choose = self.wanted or plan.choose
        return choose(H, rows.batch, directions, bits, self.device, backward)

    def launch(self, kernel, grid, together, **arguments):
        self.append((kernel.fn.__name__, grid))
        return Launch(kernel, grid, plan.WARPS, arguments, self.faults, self.missing)
