"""`fastlstm.quantize`: which modules of a model have int8 weights afterwards, and which not."""

import copy

import pytest
import torch
from test_convert import Own, OwnOfOurs
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

import fastlstm
from fastlstm import _C
from fastlstm.backends import cpu
from fastlstm.kept import KeptPrecision

X = torch.randn(4, 2, 5)


def test_quantize():
    """What is an LSTM of torch or ours, of float32, and restore gives it back."""
    model = nn.ModuleDict(
        {
            "torchs": nn.LSTM(5, 6),
            "ours": fastlstm.LSTM(5, 6, backend="cpu"),
            "cell": nn.LSTMCell(5, 6),
            "our_cell": fastlstm.LSTMCell(5, 6),
            "of_double": nn.LSTM(5, 6).double(),
            "own": Own(5, 6),
            "derived": OwnOfOurs(5, 6),
            "zoneout": fastlstm.LSTM(5, 6, zoneout=0.1),
            "widths": fastlstm.LSTM(5, [6, 7]),
            "quantized": torch.ao.nn.quantized.dynamic.LSTM(5, 6),
        }
    )
    x = torch.randn(4, 2, 5)
    state = {name: tensor.clone() for name, tensor in model.named_parameters()}
    with torch.no_grad():
        exact = model["torchs"](x)[0]
        report = fastlstm.quantize(model)
        assert report.changed == ("torchs", "ours", "zoneout", "widths")
        assert set(report.kept) == set(model) - set(report.changed)
        assert "no precision" in report.kept["cell"]
        assert "torch.float64" in report.kept["of_double"]
        assert "OwnOfOurs" in report.kept["derived"]
        for name in report.changed:
            assert type(model[name]) is fastlstm.LSTM
            assert model[name].precision == "int8"
        assert (model["torchs"].backend, model["ours"].backend) == ("auto", "cpu")
        assert 1e-5 < (model["torchs"](x)[0] - exact).abs().max() < 0.01
        assert fastlstm.quantize(model) == report
        for name, tensor in model.named_parameters():
            assert torch.equal(tensor, state[name])
        fastlstm.restore(model)
        assert type(model["torchs"]) is nn.LSTM
        assert torch.equal(model["torchs"](x)[0], exact)


def test_quantize_the_model_itself():
    model = nn.LSTM(5, 6)
    assert fastlstm.quantize(model).changed == ("",)
    assert repr(model) == "LSTM(5, 6, precision='int8')"
    model(X)[0].sum().backward()
    assert model.weight_hh_l0.grad.any()


def test_quantize_a_parametrized_lstm():
    model = nn.LSTM(5, 6)
    nn.utils.parametrizations.weight_norm(model, "weight_hh_l0")
    with torch.no_grad():
        exact = model(X)[0]
        assert fastlstm.quantize(model).changed == ("",)
        assert fastlstm.quantize(model).changed == ("",)
        assert 1e-5 < (model(X)[0] - exact).abs().max() < 0.01


@torch.no_grad()
def test_weights_are_packed_once(monkeypatch):
    """And again where one was replaced or changed; by `quantize`, where it was behind our back."""
    model = fastlstm.LSTM(5, 6, 2, backend="cpu", precision="int8")
    made = []

    def packed(sizes, *arguments):
        made.append(sizes)
        return real(sizes, *arguments)

    real = _C.PackedWeights
    monkeypatch.setattr(_C, "PackedWeights", packed)

    def output_of(change, packs):
        made.clear()
        change()
        outputs = [model(X)[0] for _ in range(3)]
        assert torch.equal(outputs[0], outputs[2])
        assert len(made) == packs
        fresh = copy.deepcopy(model)
        assert (type(fresh.precision), "_kept" in vars(fresh)) == (str, False)
        assert torch.equal(outputs[0], fresh(X)[0])

    other = torch.randn(24, 6)
    output_of(lambda: None, 1)
    output_of(lambda: None, 0)
    output_of(lambda: model.weight_hh_l1.mul_(2), 1)
    output_of(lambda: setattr(model, "weight_hh_l0", nn.Parameter(other)), 1)
    output_of(lambda: model.load_state_dict(fastlstm.LSTM(5, 6, 2).state_dict()), 1)
    output_of(lambda: model.double().float(), 1)
    output_of(lambda: setattr(model.weight_hh_l0, "data", -other), 1)
    model.weight_hh_l0.data.copy_(other)
    output_of(lambda: fastlstm.quantize(model), 1)


@torch.no_grad()
@pytest.mark.parametrize(("hidden", "dropout"), [([6, 70], 0.0), (70, 0.5)], ids=str)
def test_layers_one_by_one_keep_nothing(monkeypatch, hidden, dropout):
    """Each is a call of its own: their weights go by the cache."""
    model = fastlstm.LSTM(5, hidden, 2, dropout=dropout, backend="cpu", precision="int8")
    monkeypatch.setattr(_C, "PackedWeights", None)
    found = []
    for precision in ("int8", "int8", None):
        model.precision = precision
        torch.manual_seed(0)
        found.append(model(X)[0])
    assert torch.equal(found[0], found[1])
    assert 1e-5 < (found[0] - found[2]).abs().max() < 0.05


@torch.no_grad()
def test_packed_weights_are_of_the_variant_in_use():
    model = fastlstm.LSTM(5, 70, backend="cpu", precision="int8")
    exact = model(X)[0]
    for isa in cpu.isas():
        with cpu.use_isa(isa):
            torch.testing.assert_close(model(X)[0], exact, rtol=0, atol=1e-4)


@torch.no_grad()
def test_weights_made_in_inference_mode():
    with torch.inference_mode():
        model = fastlstm.LSTM(5, 6, precision="int8")
        first = model(X)[0]
        model.weight_hh_l0.mul_(2)
        assert not torch.equal(model(X)[0], first)


def test_a_compiled_graph_keeps_nothing():
    model = fastlstm.LSTM(5, 6, precision="int8").requires_grad_(False)
    model(X)
    traced = make_fx(lambda x: model(x)[0])(X)
    model.weight_hh_l0.data.mul_(2)
    expected = copy.deepcopy(model)(X)[0]
    assert torch.equal(traced(X), expected)
    assert all(type(a) is not KeptPrecision for node in traced.graph.nodes for a in node.args)
