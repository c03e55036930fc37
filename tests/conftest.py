import os

import pytest
import torch

if not torch.cuda.is_available():
    # The plain kernels of the triton backend run on the CPU; read when triton is imported.
    os.environ.setdefault("TRITON_INTERPRET", "1")


from fastlstm.backends import cpu


@pytest.fixture(autouse=True)
def same_conditions():
    """The same seed, and one thread: a test of threads says how many; busy cores slow no other."""
    torch.manual_seed(0)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def set_threads(same_conditions):
    """`torch.set_num_threads`, undone after the test."""
    return torch.set_num_threads


@pytest.fixture(params=cpu.isas())
def isa(request):
    """Each variant of the C++ kernels that this CPU runs, in use."""
    with cpu.use_isa(request.param):
        yield request.param


@pytest.fixture(params=[1, 2, 3], ids=lambda n: f"threads{n}")
def threads(request, set_threads):
    """One, two and three threads. Below 400 000 multiply-adds a call stays on one."""
    set_threads(request.param)
    return request.param


@pytest.fixture(params=["float32", "bfloat16"])
def dtype(request):
    """The name of each dtype that the C++ kernels take, as a `Case` has it."""
    return request.param


@pytest.fixture
def poison(monkeypatch):
    """Called, it fills with NaN what is allocated from then on; returns the list of its shapes."""

    def begin():
        poisoned = []

        def poisoning(allocate):
            def allocate_poisoned(*args, **kwargs):
                tensor = allocate(*args, **kwargs)
                if tensor.is_floating_point():
                    poisoned.append(tensor.fill_(float("nan")).shape)
                return tensor

            return allocate_poisoned

        for owner, name in ((torch, "empty"), (torch, "empty_like"), (torch.Tensor, "new_empty")):
            monkeypatch.setattr(owner, name, poisoning(getattr(owner, name)))
        return poisoned

    return begin
