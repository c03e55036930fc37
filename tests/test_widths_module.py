"""A hidden size per layer as a module: what it is made of, its errors, and who may look into it."""

import copy
import pickle

import pytest
import torch
from stacked import SIZES, B, I, T, make_states, named_parameters, pair
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_padded_sequence

import fastlstm

CONFIGS = {
    "plain": {},
    "both-ways": {"bidirectional": True, "batch_first": True},
    "no-bias": {"bias": False},
    "proj": {"proj_size": 4, "bidirectional": True},
}
each_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


@each_config
def test_parameters_are_those_of_nn_lstm(config):
    torch.manual_seed(3)
    ours = fastlstm.LSTM(I, [9, 9], **config)
    after = torch.rand(1)
    torch.manual_seed(3)
    peer = nn.LSTM(I, 9, 2, **config)
    assert torch.equal(torch.rand(1), after)
    assert list(ours.state_dict()) == list(peer.state_dict())
    for _ in range(2):
        for name, tensor in peer.state_dict().items():
            assert torch.equal(ours.state_dict()[name], tensor), name
        for module in (ours, peer):
            torch.manual_seed(5)
            module.reset_parameters()
    names = [[w.shape for w in ws] for ws in ours.all_weights]
    assert names == [[w.shape for w in ws] for ws in peer.all_weights]


@each_config
def test_shapes_and_bounds_follow_each_layers_size(config):
    torch.manual_seed(3)
    ours = fastlstm.LSTM(I, SIZES, **config)
    drawn = {name: p.clone() for name, p in ours.named_parameters()}
    torch.manual_seed(3)
    _, peer = pair(**config)
    expected = {name: p.shape for name, p in named_parameters(peer).items()}
    assert {name: p.shape for name, p in ours.named_parameters()} == expected
    torch.manual_seed(3)
    ours.reset_parameters()
    for name, parameter in ours.named_parameters():
        assert torch.equal(parameter, drawn[name])
        bound = SIZES[int(name.split("_l")[1][0])] ** -0.5
        assert 0.7 * bound < parameter.abs().max() <= bound


def test_attributes_and_repr():
    ours = fastlstm.LSTM(I, (8, 6), bidirectional=True, precision="bf16")
    assert repr(ours) == "LSTM(5, [8, 6], num_layers=2, bidirectional=True, precision='bf16')"
    assert (ours.hidden_size, ours.num_layers) == ([8, 6], 2)
    assert fastlstm.LSTM(I, [8, 6], 2, dtype=torch.float64).weight_hh_l1.dtype == torch.float64
    assert fastlstm.LSTM(I, [8, 6], device="meta").weight_hh_l1.is_meta
    assert isinstance(ours, nn.LSTM)


WRONG = {
    "num_layers": (ValueError, "got num_layers=3 and hidden_size=", {"num_layers": 3}),
    "empty": (
        ValueError,
        r"at least 1, got num_layers=1 and hidden_size=\[\]",
        {"hidden_size": []},
    ),
    "proj": (ValueError, "proj_size has to be smaller than hidden_size", {"proj_size": 6}),
    "zero": (ValueError, "hidden_size must be greater than zero", {"hidden_size": [8, 0]}),
    "float": (TypeError, "hidden_size should be of type int", {"hidden_size": [8, 6.0]}),
    "text": (TypeError, "hidden_size should be of type int", {"hidden_size": "86"}),
    "dropout": (ValueError, "dropout should be a number in range", {"dropout": 2}),
}


@pytest.mark.parametrize(("kind", "words", "given"), WRONG.values(), ids=WRONG.keys())
def test_wrong_arguments(kind, words, given):
    with pytest.raises(kind, match=words):
        fastlstm.LSTM(**{"input_size": I, "hidden_size": [8, 6]} | given)


def wrong_states():
    good = make_states(fastlstm.LSTM(I, SIZES), (B,))
    stacked = torch.zeros(3, B, 18)
    form = "two tuples, h and c, of 3 tensors, one for each layer, got "
    yield "tensors", (stacked, stacked), form + r"\(Tensor, Tensor\)"
    yield "one", stacked, form + "Tensor"
    yield "few", (good[0][:2], good[1]), form + r"\(\(Tensor, Tensor\), \(Tensor,"
    yield "pairs", list(zip(*good, strict=True)), form


@pytest.mark.parametrize(("name", "hx", "words"), list(wrong_states()))
def test_states_that_are_not_a_tensor_for_each_layer(name, hx, words):
    ours, x = fastlstm.LSTM(I, SIZES), torch.zeros(T, B, I)
    with pytest.raises(ValueError, match="^hx must be " + words):
        ours(x, hx)
    with pytest.raises(ValueError, match="^reset_hx must be " + words):
        ours(x, resets=torch.zeros(T, B) > 0, reset_hx=hx)


def test_states_of_another_shape_name_the_layer():
    ours, x = fastlstm.LSTM(I, SIZES), torch.zeros(T, B, I)
    h, c = make_states(ours, (B,))
    wide = h, (*c[:2], torch.zeros(1, B, 12))
    flat = h, (c[0], torch.zeros(B, 7), c[2])
    size = r"^layer 2: Expected hidden\[1\] size \(1, 3, 11\), got \[1, 3, 12\]"
    with pytest.raises(RuntimeError, match=size):
        ours(x, wide)
    with pytest.raises(RuntimeError, match=size):
        ours(x, wide, lengths=[1, 2, 3])
    with pytest.raises(RuntimeError, match=size):
        ours(pack_padded_sequence(x, [T] * B), wide)
    with pytest.raises(RuntimeError, match=r"^layer 1: For batched 3-D .* \(3-D, 2-D\)"):
        ours(x, flat)
    with pytest.raises(ValueError, match=r"^layer 2: reset_hx: c must have shape \[1, 3, 11\]"):
        ours(x, resets=torch.zeros(T, B) > 0, reset_hx=wide)


def test_what_is_of_no_layer_names_none():
    ours, x = fastlstm.LSTM(I, SIZES), torch.zeros(T, B, I)
    with pytest.raises(ValueError, match=r"^lengths must be 3 integers"):
        ours(x, lengths=[1])
    with pytest.raises(RuntimeError, match=r"^input.size.-1. must be equal to input_size"):
        ours(x[..., :2])


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"]
)
def test_copies_are_independent(copied):
    ours, x = fastlstm.LSTM(I, SIZES, backend="reference"), torch.randn(T, B, I)
    before = ours(x)[0]
    twin = copied(ours)
    assert (repr(twin), twin.backend) == (repr(ours), "reference")
    assert torch.equal(twin(x)[0], before)
    with torch.no_grad():
        twin.weight_hh_l1.zero_()
    assert torch.equal(ours(x)[0], before)
    assert not torch.equal(twin(x)[0], before)
    ours.load_state_dict(twin.state_dict())
    assert torch.equal(ours(x)[0], twin(x)[0])


def test_weights_of_now():
    ours, x = fastlstm.LSTM(I, SIZES), torch.randn(T, B, I)
    ours(x)
    ours.weight_hh_l1 = nn.Parameter(torch.zeros(28, 7))
    twin = copy.deepcopy(ours)
    torch.testing.assert_close(ours(x), twin(x))
    parametrizations.weight_norm(twin, "weight_hh_l2")
    torch.testing.assert_close(twin(x), ours(x))
    with torch.no_grad():
        twin.parametrizations.weight_hh_l2.original0.zero_()
    assert not torch.allclose(twin(x)[0], ours(x)[0])
    twin.reset_parameters()
    other = nn.utils.skip_init(fastlstm.LSTM, I, SIZES)
    other.load_state_dict(ours.state_dict())
    torch.testing.assert_close(other(x), ours(x))
    torch.testing.assert_close(ours.double()(x.double())[0].float(), other(x)[0])


def test_frozen_layers():
    ours, peer = pair()
    x = torch.randn(T, B, I)
    for layer in (0, 2):
        for module in (ours, peer):
            for name, parameter in named_parameters(module).items():
                parameter.requires_grad_(f"_l{layer}" not in name)
                parameter.grad = None
            module(x)[0].sum().backward()
        for name, parameter in named_parameters(peer).items():
            torch.testing.assert_close(getattr(ours, name).grad, parameter.grad)


def test_convert_takes_no_offence_and_restore_leaves_it():
    model = nn.ModuleList([fastlstm.LSTM(I, [9, 9]), fastlstm.LSTM(I, 9)])
    report = fastlstm.restore(model)
    assert report.changed == ("1",)
    assert report.kept == {"0": "nn.LSTM has one hidden size for all layers, not [9, 9]"}
    assert type(model[0]) is fastlstm.LSTM
    report = fastlstm.convert(model)
    assert (report.changed, report.kept) == (("1",), {})


def test_what_takes_no_list_says_so():
    ours = fastlstm.LSTM(I, [9, 7])
    with pytest.raises(ValueError, match=r"stream\(\) takes one hidden size .* got .*\[9, 7\]"):
        ours.stream()
    with pytest.raises(ValueError, match=r"torch\.jit\.script, .* takes one hidden size"):
        torch.jit.script(nn.Sequential(ours))
