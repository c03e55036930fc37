"""`convert` and `restore`: the same objects with other classes, and a report."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import fastlstm


class Tagger(nn.Module):
    """A model with LSTMs in many places."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.LSTM(5, 6, 2, bidirectional=True, batch_first=True, dropout=0.5)
        self.cells = nn.ModuleList(nn.LSTMCell(12, 12) for _ in range(2))
        self.gru = nn.GRU(12, 12)
        self.tied = self.encoder
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        y, _ = self.encoder(x)
        y, _ = self.gru(y)
        h = self.cells[0](y[:, -1])
        return self.head(self.cells[1](h[0], h)[0])


X = torch.randn(4, 7, 5, generator=torch.Generator().manual_seed(1))


def outputs_and_gradients(model):
    torch.manual_seed(5)  # of dropout
    model.zero_grad()
    output = model(X.to(next(model.parameters()).dtype))
    output.square().sum().backward()
    return output, {name: p.grad for name, p in model.named_parameters()}


def test_a_model_gives_the_same():
    model = Tagger()
    expected = outputs_and_gradients(copy.deepcopy(model))
    parameters, modules = dict(model.named_parameters()), dict(model.named_modules())
    keys, text = list(model.state_dict()), repr(model)
    report = fastlstm.convert(model)
    assert report.changed == ("encoder", "cells.0", "cells.1")
    assert report.kept == {}
    assert type(model.encoder) is fastlstm.LSTM
    assert type(model.cells[0]) is fastlstm.LSTMCell
    assert type(model.gru) is nn.GRU
    assert model.tied is model.encoder
    assert all(p is parameters[name] for name, p in model.named_parameters())
    assert all(m is modules[name] for name, m in model.named_modules())
    assert list(model.state_dict()) == keys
    assert repr(model) == text
    torch.testing.assert_close(outputs_and_gradients(model), expected)


def test_restore_gives_back_torchs_own():
    model = Tagger()
    before = outputs_and_gradients(model)
    attributes = {name: sorted(vars(m)) for name, m in model.named_modules()}
    fastlstm.convert(model)
    model(X)
    report = fastlstm.restore(model)
    assert report.changed == ("encoder", "cells.0", "cells.1")
    assert type(model.encoder) is nn.LSTM
    assert type(model.cells[1]) is nn.LSTMCell
    assert {name: sorted(vars(m)) for name, m in model.named_modules()} == attributes
    after = outputs_and_gradients(model)
    assert torch.equal(after[0], before[0])
    assert fastlstm.restore(model) == fastlstm.convert(nn.Linear(2, 2))


def test_what_was_built_as_ours_becomes_torchs():
    ours = fastlstm.LSTM(5, 6, precision="bf16", backend="cpu")
    assert fastlstm.restore(ours).changed == ("",)
    assert type(ours) is nn.LSTM
    ours(X)
    assert str(fastlstm.convert(ours)) == "changed: the model itself"
    ours(X)


def test_mode_hooks_optimizer_and_dtype_stay():
    model = Tagger().double().eval()
    seen = []
    model.encoder.register_forward_hook(lambda module, args, output: seen.append(type(module)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    fastlstm.convert(model)
    assert not model.encoder.training
    model(X.double()).sum().backward()
    before = model.encoder.weight_hh_l0.detach().clone()
    optimizer.step()
    assert seen == [fastlstm.LSTM]
    assert model.encoder.weight_hh_l0.dtype == torch.float64
    assert not torch.equal(model.encoder.weight_hh_l0, before)


def test_arguments_reach_the_modules():
    model = Tagger()
    fastlstm.convert(model, backend="reference", precision="bf16")
    assert (model.encoder.backend, model.encoder.precision) == ("reference", "bf16")
    assert model.cells[0].backend == "reference"
    for kwargs in ({"backend": "gpu"}, {"precision": "int4"}):
        untouched = Tagger()
        with pytest.raises(ValueError, match="must be"):
            fastlstm.convert(untouched, **kwargs)
        assert type(untouched.encoder) is nn.LSTM


class Own(nn.LSTM):
    """An LSTM that somebody changed."""

    def forward(self, x, hx=None):
        return super().forward(x * 2, hx)


class OwnOfOurs(fastlstm.LSTM):
    """An LSTM that somebody derived from ours."""


@pytest.mark.filterwarnings("ignore")
def test_what_can_not_be_taken_stays_with_the_reason():
    model = nn.ModuleDict(
        {
            "own": Own(5, 6),
            "scripted": torch.jit.script(nn.LSTM(5, 6)),
            "quantized": torch.ao.nn.quantized.dynamic.LSTM(5, 6),
            "ours": fastlstm.LSTM(5, 6),
            "derived": OwnOfOurs(5, 6),
        }
    )
    report = fastlstm.convert(model)
    assert report.changed == ()
    assert set(report.kept) == {"own", "scripted", "quantized"}
    assert "Own" in report.kept["own"]
    assert "torch.jit" in report.kept["scripted"]
    assert "quantized" in report.kept["quantized"]
    assert "kept: own: what its class" in str(report)
    back = fastlstm.restore(model)
    assert back.changed == ("ours",)
    assert set(back.kept) == {"derived"}


@pytest.mark.parametrize("name", ["weight_hh_l0", "weight_ih_l0"])
def test_parametrized(name):
    peer = parametrizations.weight_norm(nn.LSTM(5, 6, batch_first=True), name)
    ours = copy.deepcopy(peer)
    assert fastlstm.convert(ours).changed == ("",)
    assert isinstance(ours, fastlstm.LSTM)
    results = []
    for module in (ours, peer):
        output, _ = module(X)
        output.sum().backward()
        results.append({n: p.grad for n, p in module.named_parameters()} | {"output": output})
    torch.testing.assert_close(*results)
    fastlstm.restore(ours)
    torch.testing.assert_close(ours(X)[0], peer(X)[0])
    parametrize.remove_parametrizations(ours, name)
    assert type(ours) is nn.LSTM


@pytest.mark.filterwarnings("ignore:.*weight_norm")
@pytest.mark.parametrize(
    "change",
    [
        lambda lstm: nn.utils.weight_norm(lstm, "weight_hh_l0"),
        lambda lstm: nn.utils.spectral_norm(lstm, "weight_hh_l0"),
        lambda lstm: prune.l1_unstructured(lstm, "weight_hh_l0", 0.5),
    ],
    ids=["weight-norm", "spectral-norm", "prune"],
)
def test_weights_made_by_a_hook(change):
    peer = nn.LSTM(5, 6, batch_first=True)
    change(peer)
    peer.eval()
    expected = peer(X)[0]
    fastlstm.convert(peer)
    torch.testing.assert_close(peer(X)[0], expected, rtol=1e-3, atol=1e-4)


def test_a_compiled_model_goes_on():
    model = Tagger().eval()
    compiled = torch.compile(model, backend="aot_eager")
    expected = compiled(X)
    fastlstm.convert(compiled)
    torch.testing.assert_close(compiled(X), expected)
    assert type(model.encoder) is fastlstm.LSTM


def test_converting_costs_nothing_noticeable():
    """No tensor is made or read: it works on a model without memory."""
    with torch.device("meta"):
        model = nn.ModuleList(nn.LSTM(1 << 14, 1 << 14) for _ in range(20))
    assert len(fastlstm.convert(model).changed) == 20
    assert all(p.is_meta for p in model.parameters())
