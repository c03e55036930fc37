"""Models of other packages, converted: what they compute, how they draw, and back again."""

import copy

import pytest
import torch
import torch.nn.functional as F
from accuracy import assert_as_accurate
from torch import nn
from zoo import ZOO

import fastlstm
from fastlstm.verify import relative_error

pytestmark = pytest.mark.models

HALF_OF_THE_DIGITS = torch.finfo(torch.float32).eps ** 0.5
# Of a gradient that other layers compute: nn.LSTM's own model, its LSTMs' outputs moved by half an
# ulp, is up to 3 times as far from float64 as it was, and on two threads up to 20 times.
FURTHER_ON = 10


@pytest.fixture(scope="module", params=ZOO)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def sample(name):
    pytest.importorskip(ZOO[name].package)
    torch.manual_seed(0)
    made = ZOO[name].build()
    made.model.eval()
    return made


@pytest.fixture
def draws(name):
    """Whether the model's outputs are random and have no gradients."""
    return ZOO[name].draws


@pytest.fixture
def float64():
    """Tensors that a model makes by itself are float64 too, once this is called."""
    before = torch.get_default_dtype()
    yield lambda: torch.set_default_dtype(torch.float64)
    torch.set_default_dtype(before)


@pytest.fixture
def smooth(monkeypatch):
    """No kinks: where rounding moves a number past a ReLU's, a gradient changes by far more."""
    monkeypatch.setattr(F, "relu", lambda x, inplace=False: F.silu(x))


def converted(model):
    model = copy.deepcopy(model)
    report = fastlstm.convert(model)
    assert report.changed, str(report)
    assert not report.kept, str(report)
    return model


def results(sample, model):
    """Outputs by name, and every parameter's gradient of a sum of them with random signs."""
    torch.manual_seed(1)
    dtype = next(model.parameters()).dtype
    inputs = {k: v.to(dtype) if v.is_floating_point() else v for k, v in sample.inputs.items()}
    outputs = sample.call(model, **inputs)
    found = {name: output.detach() for name, output in outputs.items()}
    if not any(output.requires_grad for output in outputs.values()):
        return found, {}
    draw = torch.Generator().manual_seed(2)
    signs = {k: torch.randint(2, v.shape, generator=draw) * 2 - 1 for k, v in outputs.items()}
    sum((output * signs[name]).sum() for name, output in outputs.items()).backward()
    named = ((name, parameter.grad) for name, parameter in model.named_parameters())
    return found, {name: gradient for name, gradient in named if gradient is not None}


def test_as_accurate(sample, draws, float64, smooth):
    if draws:
        pytest.skip("in float64 it draws other numbers")
    ours, torchs, exact = converted(sample.model), *(copy.deepcopy(sample.model) for _ in range(2))
    lstms = lstm_parameters(exact)
    (got, gradients), (peer, peer_gradients) = results(sample, ours), results(sample, torchs)
    float64()
    oracle, oracle_gradients = results(sample, exact.double())
    assert list(got) == list(oracle)
    for name, output in got.items():
        assert_as_accurate(name, output, oracle[name], peer[name])
    assert list(gradients) == list(oracle_gradients) == list(peer_gradients)
    assert lstms <= set(gradients)
    for name, gradient in gradients.items():
        slack = {} if name in lstms else {"slack": FURTHER_ON}
        tensors = gradient, oracle_gradients[name], peer_gradients[name]
        assert_as_accurate(f"gradient of {name}", *tensors, **slack)


def lstm_parameters(model):
    """The names of the parameters of every nn.LSTM and nn.LSTMCell."""
    found = set()
    for name, module in model.named_modules():
        if isinstance(module, (nn.LSTM, nn.LSTMCell)):
            found |= {f"{name}.{own}" for own, _ in module.named_parameters()}
    return found


def test_draws_the_same(sample):
    """With dropout. One number that is not the same changes results by as much as they are."""
    ours, peer = converted(sample.model).train(), copy.deepcopy(sample.model).train()
    (got, gradients), (wanted, wanted_gradients) = results(sample, ours), results(sample, peer)
    assert list(got) == list(wanted)
    for name, output in got.items():
        assert relative_error(output, wanted[name]) < HALF_OF_THE_DIGITS, name
    assert list(gradients) == list(wanted_gradients)
    scale = max((gradient.abs().max() for gradient in wanted_gradients.values()), default=0)
    for name, gradient in gradients.items():
        assert (gradient - wanted_gradients[name]).abs().max() < HALF_OF_THE_DIGITS * scale, name


def test_restored(sample):
    model, peer = converted(sample.model), copy.deepcopy(sample.model)
    results(sample, model)
    assert types(model) != types(peer)
    report = fastlstm.restore(model)
    assert report.changed, str(report)
    assert not report.kept, str(report)
    assert types(model) == types(peer)
    assert list(model.state_dict()) == list(peer.state_dict())
    model.zero_grad()
    for got, wanted in zip(results(sample, model), results(sample, peer), strict=True):
        assert list(got) == list(wanted)
        for name, tensor in got.items():
            assert torch.equal(tensor, wanted[name]), name


def types(model):
    return {name: type(module) for name, module in model.named_modules()}
