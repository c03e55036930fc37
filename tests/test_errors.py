"""A wrong call fails as it does in nn.LSTM: the same type of error with the same words."""

import re

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import fastlstm
from fastlstm.verify import make_ours

X = torch.zeros(4, 3, 5)
S = torch.zeros(1, 3, 7)
PACKED = pack_padded_sequence(X, [4, 2, 1])
UNSORTED = pack_padded_sequence(X, [2, 4, 1], enforce_sorted=False)
CALLS = {
    "input-1d": (torch.zeros(5), None),
    "input-4d": (torch.zeros(1, 4, 3, 5), None),
    "input-size": (torch.zeros(4, 3, 6), None),
    "input-size-unbatched": (torch.zeros(4, 6), None),
    "no-steps": (X[:0], None),
    "no-steps-unbatched": (X[:0, 0], None),
    "hx-2d-for-batch": (X, (S[0], S[0])),
    "hx-3d-for-unbatched": (X[:, 0], (S, S)),
    "h-batch": (X, (S[:, :2], S)),
    "c-batch": (X, (S, S[:, :2])),
    "h-hidden": (X, (S[..., :6], S)),
    "c-hidden": (X, (S, S[..., :6])),
    "h-layers": (X, (S.repeat(2, 1, 1), S)),
    "c-layers": (X, (S, S.repeat(2, 1, 1))),
    "one-state": (X, (S,)),
    "one-state-as-tensor": (X, S),
    "three-states": (X, (S, S, S)),
    "three-states-of-4d": (X, (S[None], S, S)),
    "packed-one-state": (PACKED, (S,)),
    "packed-three-states": (PACKED, (S, S, S)),
    "packed-empty-states": (PACKED, ()),
    "packed-one-state-missing": (PACKED, (S, None)),
    "unsorted-one-state": (UNSORTED, (S,)),
    "unsorted-one-state-missing": (UNSORTED, (S, None)),
    "no-states": (X, 3),
    "h-float64": (X, (S.double(), S.double())),
}
# Where nn.LSTM checks nothing and leaves the words to an operator inside it, ours may be better.
UNCHECKED_CALLS = {
    "float64-input": (X.double(), None, "torch.float64|Double|double"),
    "int-input": (X.long(), None, "torch.int64|Long|long|floating"),
    "packed-input-size": (pack_padded_sequence(torch.zeros(4, 3, 6), [4, 2, 1]), None, "5, got 6"),
    "packed-state-as-tensor": (PACKED, S, "hx must be a tuple of h_0 and c_0, got Tensor"),
    "packed-no-states": (PACKED, 3, "hx must be a tuple of h_0 and c_0, got int"),
    "packed-h-batch": (PACKED, (S[:, :2], S), r"hidden\[0\].*\(1, 3, 7\), got \[1, 2, 7\]"),
    "packed-c-hidden": (PACKED, (S, S[..., :6]), r"hidden\[1\].*\(1, 3, 7\), got \[1, 3, 6\]"),
}


def failure(call, *args, **kwargs):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is the question
        call(*args, **kwargs)
    return caught.type, str(caught.value)


@pytest.mark.parametrize(("x", "hx"), CALLS.values(), ids=CALLS.keys())
@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no-grad"])
def test_wrong_call(x, hx, grad):
    peer = nn.LSTM(5, 7)
    ours = make_ours(peer)
    with torch.set_grad_enabled(grad):
        assert failure(ours, x, hx) == failure(peer, x, hx)


@pytest.mark.parametrize(("x", "hx", "words"), UNCHECKED_CALLS.values(), ids=UNCHECKED_CALLS.keys())
def test_wrong_call_that_nn_lstm_does_not_check(x, hx, words):
    peer = nn.LSTM(5, 7)
    kind, _ = failure(peer, x, hx)
    with pytest.raises(kind, match=words):
        make_ours(peer)(x, hx)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"dropout": 2.0},
        {"dropout": "much"},
        {"hidden_size": 0},
        {"hidden_size": 1.5},
        {"input_size": "5"},
        {"num_layers": 0},
        {"proj_size": -1},
        {"proj_size": 7},
    ],
    ids=lambda kwargs: "-".join(f"{k}={v}" for k, v in kwargs.items()),
)
def test_wrong_construction(kwargs):
    arguments = {"input_size": 5, "hidden_size": 7} | kwargs
    assert failure(fastlstm.LSTM, **arguments) == failure(nn.LSTM, **arguments)


@pytest.mark.parametrize("precision", ["", "float32", "BF16", torch.bfloat16, False], ids=repr)
def test_unknown_precision(precision):
    words = re.escape(f"precision must be None, 'bf16' or 'int8', got {precision!r}")
    with pytest.raises(ValueError, match=words):
        fastlstm.LSTM(5, 7, precision=precision)
    ours = fastlstm.LSTM(5, 7)
    ours.precision = precision
    with pytest.raises(ValueError, match=words):
        ours(X)


def test_dropout_without_layers_warns_as_nn_lstm_does():
    with pytest.warns(UserWarning, match="non-zero dropout expects num_layers"):
        fastlstm.LSTM(5, 7, dropout=0.5)


def test_batch_first_expects_the_other_batch():
    peer = nn.LSTM(5, 7, batch_first=True)
    assert failure(make_ours(peer), X, (S, S)) == failure(peer, X, (S, S))


@pytest.mark.parametrize(
    "sizes", [[4, 4, 4, 4], [2, 6], [4, 4], [1, 9], [5, 3, 3, -1]], ids=lambda s: str(s)
)
def test_packed_sequence_that_contradicts_itself(sizes):
    packed = PackedSequence(torch.zeros(10, 5), torch.tensor(sizes))
    kind, _ = failure(nn.LSTM(5, 7), packed) if sizes != [5, 3, 3, -1] else (RuntimeError, "")
    with pytest.raises(kind, match="batch_sizes must fall from"):
        fastlstm.LSTM(5, 7, backend="cpu")(packed)


@pytest.mark.parametrize(
    ("name", "shape"), [("weight_ih_l0", (28, 4)), ("weight_hh_l0", (28, 6)), ("bias_ih_l0", (1,))]
)
def test_weight_of_another_shape(name, shape):
    ours = fastlstm.LSTM(5, 7, backend="cpu")
    setattr(ours, name, nn.Parameter(torch.zeros(shape)))
    if name == "bias_ih_l0":  # broadcasts, as in nn.LSTM
        ours(X)[0].sum().backward()
        assert ours.bias_ih_l0.grad.item() == pytest.approx(ours.bias_hh_l0.grad.sum().item())
        return
    with pytest.raises(RuntimeError, match=r"must have shape \(28, [57]\)"):
        ours(X)
