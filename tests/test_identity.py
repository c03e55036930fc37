"""What an LSTM is taken for: nn.LSTM by code that asks, itself by a compiler and by pickle."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import fastlstm


class Derived(fastlstm.LSTM):
    """Somebody's own."""


def test_isinstance_takes_it_for_an_nn_lstm():
    ours = fastlstm.LSTM(5, 7)
    assert isinstance(ours, nn.LSTM)
    assert isinstance(ours, (nn.GRU, nn.LSTM))
    assert isinstance(ours, fastlstm.LSTM)
    assert not isinstance(ours, (nn.GRU, nn.RNN, nn.LSTMCell))
    assert type(ours) is fastlstm.LSTM
    assert not issubclass(fastlstm.LSTM, nn.LSTM)


def test_an_initialisation_loop_reaches_it():
    model = nn.Sequential(nn.Linear(3, 5), fastlstm.LSTM(5, 7))

    def initialise(module):
        if isinstance(module, nn.LSTM):
            for name, parameter in module.named_parameters():
                nn.init.constant_(parameter, 1.0 if "bias" in name else 0.5)

    model.apply(initialise)
    assert (model[1].bias_hh_l0 == 1).all()
    assert (model[1].weight_ih_l0 == 0.5).all()


@pytest.mark.parametrize("compiler", ["aot_eager", "inductor"])
def test_a_compiler_takes_it_all_the_same(compiler):
    torch._dynamo.reset()
    ours, x = fastlstm.LSTM(5, 7), torch.randn(3, 2, 5)
    compiled = torch.compile(ours, fullgraph=True, backend=compiler)
    torch.testing.assert_close(compiled(x), ours(x))
    assert isinstance(ours, nn.LSTM)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_and_copies_keep_the_type(protocol):
    for cls in (fastlstm.LSTM, Derived):
        ours, x = cls(5, 7), torch.randn(3, 2, 5)
        for twin in (
            pickle.loads(pickle.dumps(ours, protocol)), copy.copy(ours), copy.deepcopy(ours)
        ):  # fmt: skip
            assert type(twin) is cls
            assert torch.equal(twin(x)[0], ours(x)[0])


def test_a_derived_class_has_its_name():
    assert repr(Derived(5, 7)) == "Derived(5, 7)"
    assert repr(fastlstm.LSTM(5, 7)) == "LSTM(5, 7)"


def test_a_class_that_a_library_derives_is_derived_of_ours():
    ours, x = fastlstm.LSTM(5, 7), torch.randn(3, 2, 5)
    before = ours(x)[0]
    parametrizations.weight_norm(ours, "weight_hh_l0")
    assert type(ours).__name__ == "ParametrizedLSTM"
    assert type(ours).__bases__ == (fastlstm.LSTM,)
    torch.testing.assert_close(ours(x)[0], before)
    torch._dynamo.reset()
    compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x)[0], before)
    parametrize.remove_parametrizations(ours, "weight_hh_l0")
    assert type(ours) is fastlstm.LSTM
    torch.testing.assert_close(ours(x)[0], before)


def test_its_class_can_be_set():
    ours = fastlstm.LSTM(5, 7)
    for wanted in (Derived, fastlstm.LSTM):
        ours.__class__ = wanted
        assert type(ours) is wanted
    ours.__class__ = ours.__class__
    assert type(ours) is fastlstm.LSTM


def test_ours_in_the_place_of_torchs(monkeypatch):
    """As a user would do it for a library whose code they can't change."""
    monkeypatch.setattr(torch.nn, "LSTM", fastlstm.LSTM)
    monkeypatch.setattr(torch.nn, "LSTMCell", fastlstm.LSTMCell)
    model = nn.ModuleList([nn.LSTM(5, 7), nn.LSTMCell(7, 7)])
    assert type(model[0]) is fastlstm.LSTM
    y, _ = model[0](torch.randn(3, 2, 5))
    h, c = model[1](y[-1])
    (h.sum() + c.sum()).backward()
    with pytest.raises(RuntimeError, match="must be equal to input_size"):
        model[0](torch.randn(3, 2, 6))
    assert fastlstm.convert(model).changed == ()
    report = fastlstm.restore(model)
    assert report.changed == ("0", "1")
    assert type(model[0]).__module__ == "torch.nn.modules.rnn"
    model[0](torch.randn(3, 2, 5))


@pytest.mark.filterwarnings("ignore")
def test_in_the_place_of_torchs_it_is_quantized(monkeypatch):
    monkeypatch.setattr(torch.nn, "LSTM", fastlstm.LSTM)
    monkeypatch.setattr(torch.nn, "LSTMCell", fastlstm.LSTMCell)
    model = nn.Sequential(nn.LSTM(5, 7), nn.LSTMCell(5, 7)).eval()
    spec = {nn.LSTM, nn.LSTMCell}
    quantized = torch.ao.quantization.quantize_dynamic(model, spec, dtype=torch.qint8)
    assert all("quantized" in type(module).__module__ for module in quantized)
    x = torch.randn(3, 2, 5)
    torch.testing.assert_close(quantized[0](x)[0], model[0](x)[0], atol=0.05, rtol=0.05)
    first = model[:1]
    first.qconfig = torch.ao.quantization.get_default_qconfig("fbgemm")
    assert hasattr(torch.ao.quantization.prepare(first)[0], "layers")


def test_a_whole_model_loads_with_weights_only_where_its_class_is_said_to_be_safe():
    ours, file, x = fastlstm.LSTM(5, 7), io.BytesIO(), torch.randn(3, 2, 5)
    torch.save(ours, file)
    file.seek(0)
    assert torch.serialization.get_unsafe_globals_in_checkpoint(file) == ["fastlstm.lstm.LSTM"]
    file.seek(0)
    with torch.serialization.safe_globals([fastlstm.LSTM]):
        assert torch.equal(torch.load(file, weights_only=True)(x)[0], ours(x)[0])
