"""The way of a plain call in C++ gives what the way in Python gives, and leaves it all the rest."""

import gc
import threading
import time
import weakref

import pytest
import torch
from torch import Tensor, nn

from fastlstm import _C
from fastlstm.backends import cpu, cpu_memory
from fastlstm.verify import make_ours

FORMS = {
    "plain": {},
    "layers": {"num_layers": 3},
    "bidirectional": {"bidirectional": True, "num_layers": 2},
    "projection": {"proj_size": 3},
    "no biases": {"bias": False, "num_layers": 2},
    "projection without biases": {"proj_size": 3, "bias": False, "bidirectional": True},
}


class Never:
    """In place of the way in C++: it takes nothing."""

    def forward(self, *arguments):
        return None

    backward = forward


class Counting:
    """The way in C++, and how often it took a call."""

    def __init__(self):
        self.direct, self.taken = _C.Direct(Tensor, torch.empty_like, cpu_memory.KEPT), []

    def forward(self, *arguments):
        return self.note(self.direct.forward(*arguments))

    def backward(self, *arguments):
        return self.note(self.direct.backward(*arguments))

    def note(self, results):
        self.taken.append(results is not None)
        return results


@pytest.fixture
def ways(monkeypatch):
    """run(module, ...) by each way, which must agree; gives what it took directly."""

    def both(run):
        monkeypatch.setattr(cpu, "_direct", Never())
        expected = run()
        counting = Counting()
        monkeypatch.setattr(cpu, "_direct", counting)
        for got, tensor in zip(run(), expected, strict=True):
            assert got.dtype == tensor.dtype
            assert got.stride() == tensor.stride()
            assert torch.equal(got, tensor)
        return counting.taken

    return both


def call(module, x, leaves=()):
    def run():
        if not leaves:
            with torch.no_grad():
                output, states = module(x)
            return output, *states
        output, states = module(x)
        loss = output.square().sum() + sum(state.sum() for state in states)
        return output, *states, *torch.autograd.grad(loss, leaves)

    return run


def make(form, dtype=torch.float32):
    ours = make_ours(nn.LSTM(5, 7, **FORMS[form]).to(dtype), "cpu")
    return ours, torch.randn(4, 3, 5, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_inference(form, dtype, ways):
    assert ways(call(*make(form, dtype))) == [True]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("needs", ["all", "x", "weights"])
def test_gradients(form, needs, ways):
    ours, x = make(form)
    x.requires_grad_(needs != "weights")
    ours.requires_grad_(needs != "x")
    leaves = [tensor for tensor in (x, *ours.parameters()) if tensor.requires_grad]
    assert ways(call(ours, x, leaves)) == [True, True]


def test_what_it_leaves_to_python(ways):
    ours, x = make("plain")
    large = torch.randn(1 << 18, 1, 5)
    strided = torch.randn(4, 3, 10)[..., ::2]
    empty = torch.randn(4, 0, 5)
    for input in (large, strided, empty):
        assert ways(call(ours, input)) == [False]
    weight = ours.weight_hh_l0
    ours.weight_hh_l0 = nn.Parameter(weight.detach().t().contiguous().t())
    assert ways(call(ours, x)) == [False]


def test_a_torch_without_the_interface(monkeypatch):
    ours, x = make("plain")
    expected = call(ours, x)()
    direct = _C.Direct(float, torch.empty_like, cpu_memory.KEPT)  # a type that has none
    assert direct.forward(x, x, x, [], 1, False, 1) is None
    monkeypatch.setattr(cpu, "_direct", direct)
    for got, tensor in zip(call(ours, x)(), expected, strict=True):
        assert torch.equal(got, tensor)


def test_what_is_no_tensor_is_left_to_python():
    direct = _C.Direct(Tensor, torch.empty_like, cpu_memory.KEPT)
    state = torch.zeros(1, 2, 3)
    assert direct.forward(None, state, state, [], 1, False, 1) is None
    assert direct.forward(state, 7, state, [state] * 4, 1, False, 1) is None


def test_weights_live_until_the_call_ends():
    """Another thread may replace a parameter, and with it the last reference to its memory."""
    ours = make_ours(nn.LSTM(64, 96, 12), "cpu")
    x, freed = torch.randn(1500, 1, 64), []

    def call():
        begin = time.perf_counter()
        with torch.no_grad():
            ours(x)
        return time.perf_counter(), time.perf_counter() - begin

    call()
    _, duration = call()

    def replace():
        time.sleep(duration / 4)
        weakref.finalize(ours.weight_hh_l11, lambda: freed.append(time.perf_counter()))
        ours.weight_hh_l11 = nn.Parameter(torch.zeros(384, 96))

    thread = threading.Thread(target=replace)
    thread.start()
    end, _ = call()
    thread.join()
    gc.collect()
    assert len(freed) == 1
    assert end - freed[0] < duration / 2
