import pytest
import torch


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
