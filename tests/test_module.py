"""fastlstm.LSTM as a module: what it is built from, prints, saves and loads is nn.LSTM's."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

import fastlstm

CONFIGS = {
    "plain": {},
    "no-bias": {"bias": False},
    "layers-dropout": {"num_layers": 3, "dropout": 0.25},
    "bidirectional": {"bidirectional": True, "num_layers": 2},
    "batch-first": {"batch_first": True},
    "proj": {"proj_size": 3, "num_layers": 2, "bidirectional": True},
    "float64": {"dtype": torch.float64},
    "meta": {"device": "meta"},
}


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS.keys())
def pair(request):
    modules = []
    for cls in (fastlstm.LSTM, nn.LSTM):
        torch.manual_seed(3)
        modules.append(cls(5, 7, **request.param))
    return modules


def assert_equal_state(ours, theirs):
    assert list(ours) == list(theirs)
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype, name
        assert ours[name].device == tensor.device, name
        assert ours[name].shape == tensor.shape, name
        assert tensor.is_meta or torch.equal(ours[name], tensor), name


def test_same_seed_same_parameters(pair):
    ours, peer = pair
    assert_equal_state(ours.state_dict(), peer.state_dict())
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in peer.named_parameters()]
    assert [[w.shape for w in ws] for ws in ours.all_weights] == [
        [w.shape for w in ws] for ws in peer.all_weights
    ]


def test_repr(pair):
    ours, peer = pair
    assert repr(ours) == repr(peer)


def test_attributes(pair):
    ours, peer = pair
    names = (
        "mode input_size hidden_size num_layers bias batch_first dropout bidirectional proj_size"
    )
    for name in names.split():
        assert getattr(ours, name) == getattr(peer, name), name


def test_takes_every_argument_of_nn_lstm_by_name_and_a_backend():
    kwargs = {"input_size": 5, "hidden_size": 7, "num_layers": 2, "bias": False}
    kwargs |= {"batch_first": True, "dropout": 0.5, "bidirectional": True, "proj_size": 3}
    kwargs |= {"device": "cpu", "dtype": torch.float64}
    assert repr(fastlstm.LSTM(**kwargs, backend="aten")) == repr(nn.LSTM(**kwargs))
    assert fastlstm.LSTM(**kwargs, backend="aten").backend == "aten"
    assert fastlstm.LSTM(**kwargs).backend == "auto"


def test_precision():
    assert fastlstm.LSTM(5, 7).precision is None
    ours = fastlstm.LSTM(5, 7, batch_first=True, precision="bf16")
    assert ours.precision == "bf16"
    assert repr(ours) == "LSTM(5, 7, batch_first=True, precision='bf16')"
    for copied in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert copied.precision == "bf16"


def test_a_pickle_from_before_an_argument_loads():
    ours, x = fastlstm.LSTM(5, 7, 2), torch.randn(3, 2, 5)
    before = ours(x)[0]
    del ours.backend, ours.precision
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert (twin.backend, twin.precision) == ("auto", None)
        assert repr(twin) == repr(nn.LSTM(5, 7, 2))
        assert torch.equal(twin(x)[0], before)


def test_positional_arguments_mean_what_they_mean_in_nn_lstm():
    args = (5, 7, 2, False, True, 0.5, True, 3)
    assert repr(fastlstm.LSTM(*args)) == repr(nn.LSTM(*args))


def test_state_dict_loads_both_ways(pair):
    ours, peer = pair
    for source, target in ((ours, peer), (peer, ours)):
        with torch.no_grad():
            for parameter in source.parameters():
                parameter.add_(1)
        assert str(target.load_state_dict(source.state_dict())) == "<All keys matched successfully>"
        assert_equal_state(target.state_dict(), source.state_dict())


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"]
)
def test_copies_are_independent_and_compute_the_same(copied):
    ours, x = fastlstm.LSTM(5, 7, 2, bidirectional=True, backend="reference"), torch.randn(3, 2, 5)
    before = ours(x)[0]
    twin = copied(ours)
    assert twin.backend == "reference"
    assert torch.equal(twin(x)[0], before)
    with torch.no_grad():
        twin.weight_hh_l0.zero_()
    assert torch.equal(ours(x)[0], before)


def test_weights_only_load():
    ours, file = fastlstm.LSTM(5, 7), io.BytesIO()
    torch.save(ours.state_dict(), file)
    file.seek(0)
    assert_equal_state(torch.load(file, weights_only=True), ours.state_dict())


def test_meta_device_forward_gives_shapes():
    ours = fastlstm.LSTM(5, 7, 2, bidirectional=True, device="meta")
    output, (h_n, c_n) = ours(torch.empty(3, 2, 5, device="meta"))
    assert (output.shape, h_n.shape, c_n.shape) == ((3, 2, 14), (4, 2, 7), (4, 2, 7))
    assert output.is_meta


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
def test_output_may_be_changed_in_place(packed):
    x = torch.randn(4, 3, 5)
    output, _ = fastlstm.LSTM(5, 7)(pack_padded_sequence(x, [4, 3, 1]) if packed else x)
    (output.data if packed else output).add_(1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
def test_autocast_dtypes(packed, dtype):
    x = torch.randn(4, 3, 5, dtype=dtype)
    x = pack_padded_sequence(x, [4, 3, 1]) if packed else x
    with torch.autocast("cpu", torch.bfloat16):
        outputs = [cls(5, 7, dtype=dtype)(x) for cls in (nn.LSTM, fastlstm.LSTM)]
    theirs, ours = [(y.data.dtype, h.dtype, c.dtype) for y, (h, c) in outputs]
    assert ours == theirs


def test_saved_tensors_may_come_back_with_other_strides():
    def unpack(t):
        return t.transpose(0, 1).contiguous().transpose(0, 1) if t.dim() > 1 else t

    x = torch.randn(4, 3, 5, requires_grad=True)
    ours = fastlstm.LSTM(5, 7, bidirectional=True)
    (expected,) = torch.autograd.grad(ours(x)[0].square().sum(), x)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, unpack):
        loss = ours(x)[0].square().sum()
        (got,) = torch.autograd.grad(loss, x)
    torch.testing.assert_close(got, expected)
