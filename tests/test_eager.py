"""A plain call goes to the kernel at once; whatever looks on still sees the two operators."""

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.testing._internal.two_tensor import TwoTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import fastlstm
from fastlstm import ops

T, B, I, H = 3, 2, 4, 6
FORWARD = torch.ops.fastlstm.lstm_forward.default
BACKWARD = torch.ops.fastlstm.lstm_backward.default
FLOPS = {FORWARD: 100, BACKWARD: 1000}


@pytest.fixture
def ours():
    return fastlstm.LSTM(I, H, backend="cpu")


@pytest.fixture
def x():
    return torch.randn(T, B, I)


def gradients(module, x):
    """Output and gradients of one call."""
    output = module(x)[0]
    return output, *torch.autograd.grad(output.square().sum(), list(module.parameters()))


def without_gradients(module, x):
    with torch.no_grad():
        return module(x)[0]


@pytest.fixture(params=["no-grad", "grad"])
def run(request):
    """A call, with and without gradients, and the operators that it consists of."""
    if request.param == "grad":
        return gradients, [FORWARD, BACKWARD]
    return without_gradients, [FORWARD]


def test_a_plain_call_passes_no_dispatcher(ours, x, run, monkeypatch):
    def dispatched(*arguments):
        raise AssertionError("the operator was called")

    expected = run[0](ours, x)
    monkeypatch.setattr(ops, "forward_operator", dispatched)
    monkeypatch.setattr(ops, "backward_operator", dispatched)
    torch.testing.assert_close(run[0](ours, x), expected, rtol=0, atol=0)
    with torch.inference_mode():
        ours(x)
        ours(torch.randn(T, B, I))


class Recorder(TorchDispatchMode):
    """The operators of fastlstm that the mode sees."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.seen += [function] * (function.namespace == "fastlstm")
        return function(*args, **(kwargs or {}))


def test_a_dispatch_mode_sees_the_operators(ours, x, run):
    with Recorder() as mode:
        got = run[0](ours, x)
    assert mode.seen == run[1]
    torch.testing.assert_close(got, run[0](ours, x))


def test_a_function_mode_sees_the_operator(ours, x):
    class Functions(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            seen.append(function)
            return function(*args, **(kwargs or {}))

    seen = []
    with torch.no_grad(), Functions():
        ours(x)
    assert FORWARD in seen


def test_flops_can_be_counted(ours, x, run):
    mapping = {op.overloadpacket: lambda *a, n=n, **k: n for op, n in FLOPS.items()}
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        run[0](ours, x)
    assert counter.get_total_flops() == sum(FLOPS[op] for op in run[1])


@pytest.mark.parametrize("tracing_mode", ["real", "fake", "symbolic"])
def test_make_fx_records_the_operators(ours, x, run, tracing_mode):
    traced = make_fx(
        lambda x: run[0](ours, x), tracing_mode=tracing_mode, _allow_non_fake_inputs=True
    )(x)
    seen = [node.target for node in traced.graph.nodes if "fastlstm" in str(node.target)]
    assert seen == run[1]
    torch.testing.assert_close(traced(x), run[0](ours, x))


def test_a_subclass_is_unwrapped_by_the_dispatcher(ours, x):
    pair = without_gradients(ours, TwoTensor(x, -x))
    assert type(pair) is TwoTensor
    torch.testing.assert_close((pair.a, pair.b), tuple(without_gradients(ours, t) for t in (x, -x)))


def test_a_subclass_sees_the_operator(ours, x):
    class Seeing(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            seen.append(function)
            return super().__torch_function__(function, types, args, kwargs or {})

    seen = []
    without_gradients(ours, x.as_subclass(Seeing))
    assert FORWARD in seen


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_trace_holds_the_operator(ours, x):
    with torch.no_grad():
        graph = str(torch.jit.trace(ours, x, check_trace=False).graph)
    assert "fastlstm::lstm_forward" in graph


def test_the_profiler_names_the_operators(ours, x, run):
    with torch.profiler.profile() as profile:
        run[0](ours, x)
    names = {event.key for event in profile.key_averages()}
    assert {op.name() for op in run[1]} <= names


def leaked(x):
    """What a transform that is over left behind."""
    left = []
    torch.func.grad(lambda x: (left.append(x), x.sum())[1])(x)
    return left[0]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (lambda x: torch._neg_view(-x), lambda x: x),
        (lambda x: torch._efficientzerotensor(x.shape), torch.zeros_like),
        (leaked, lambda x: x),
    ],
    ids=["negated", "zeros", "leaked"],
)
def test_a_tensor_that_is_not_just_memory(ours, x, run, kind, values):
    assert type(kind(x)) is torch.Tensor
    torch.testing.assert_close(run[0](ours, kind(x)), run[0](ours, values(x)))


def test_a_gradient_that_is_not_just_memory(ours, x):
    output = ours(x)[0]
    parameters = list(ours.parameters())
    got = torch.autograd.grad(output, parameters, torch._neg_view(output), retain_graph=True)
    expected = torch.autograd.grad(output, parameters, -output.detach())
    torch.testing.assert_close(got, expected)
