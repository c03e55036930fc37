"""Which backend runs a layer, and what is said when it can't."""

import pytest
import torch

import fastlstm
from fastlstm import backends

X = torch.zeros(3, 2, 5)


def test_names():
    assert isinstance(backends.names(), tuple)
    assert {"cpu", "aten", "reference"} <= set(backends.names())
    assert "auto" not in backends.names()


@pytest.mark.parametrize("name", ["", "CPU", "gpu", "onednn", None])
def test_unknown_name(name):
    with pytest.raises(ValueError, match="backend") as caught:
        fastlstm.LSTM(5, 7, backend=name)
    assert repr(name) in str(caught.value)
    for known in ("auto", *backends.names()):
        assert known in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16], ids=str)
@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no-grad"])
def test_cpu_by_name_never_falls_back(dtype, grad):
    ours = fastlstm.LSTM(5, 7, backend="cpu", dtype=dtype)
    with torch.set_grad_enabled(grad), pytest.raises(RuntimeError) as caught:
        ours(X.to(dtype))
    assert "backend='cpu' cannot run this LSTM" in str(caught.value)
    assert f"dtype is {dtype}, it needs torch.float32 or torch.bfloat16" in str(caught.value)


def test_cpu_by_name_under_autocast_never_falls_back():
    ours = fastlstm.LSTM(5, 7, backend="cpu")
    with torch.autocast("cpu", torch.float16), pytest.raises(RuntimeError, match="float16"):
        ours(X)


@pytest.mark.parametrize("kwargs", [{}, {"proj_size": 3}], ids=["float64", "float64-proj"])
def test_auto_runs_what_the_kernels_cannot(kwargs):
    ours = fastlstm.LSTM(5, 7, dtype=torch.float64, **kwargs)
    output, _ = ours(X.double())
    assert output.dtype == torch.float64
    assert output.shape == (3, 2, kwargs.get("proj_size", 7))


@pytest.mark.parametrize("name", ["auto", "cpu", "aten", "reference"])
def test_the_backend_named_is_the_one_that_runs(name, monkeypatch):
    """Every backend but the one named is broken."""
    wanted = ("cpu", "aten", "reference") if name == "auto" else (name,)

    def broken(*args, **kwargs):
        raise AssertionError("another backend was called")

    for other in backends.names():
        module = backends.get(other).load()
        for function in ("forward", "lstm"):
            if other not in wanted and hasattr(module, function):
                monkeypatch.setattr(module, function, broken)
    output, _ = fastlstm.LSTM(5, 7, backend=name)(X)
    assert output.shape == (3, 2, 7)


def test_backend_can_be_changed_on_a_module():
    ours, x = fastlstm.LSTM(5, 7, backend="cpu"), torch.randn(3, 2, 5)
    outputs = []
    for name in ("cpu", "aten", "reference", "auto"):
        ours.backend = name
        outputs.append(ours(x)[0])
    for output in outputs[1:]:
        torch.testing.assert_close(output, outputs[0])


@pytest.mark.parametrize("name", ["auto", "cpu", "aten", "reference"])
@pytest.mark.parametrize("directions", [1, 2])
def test_functional_layer_equals_the_module(name, directions):
    module = fastlstm.LSTM(5, 7, bidirectional=directions == 2)
    x, h_0, c_0 = (torch.randn(*shape) for shape in ((3, 2, 5), *[(directions, 2, 7)] * 2))
    expected = module(x, (h_0, c_0))
    flat = [weight for weights in module.all_weights for weight in weights]
    y, h_n, c_n = fastlstm.functional.lstm(x, h_0, c_0, flat, backend=name)
    torch.testing.assert_close((y, (h_n, c_n)), expected)
