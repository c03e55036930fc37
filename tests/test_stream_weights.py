"""The weights of `LSTM.stream()`: those of the module when it was made, or refreshed."""

import pytest
import torch
from torch import nn

import fastlstm


def assert_streams_as(stream, ours, x):
    """The stream's steps, from zeros, are the module's."""
    stream.reset()
    x = x.expand(3, *x.shape)
    torch.testing.assert_close(stream(x), ours(x)[0].detach())


def test_refresh_reads_the_weights_again():
    ours, x = fastlstm.LSTM(5, 9), torch.randn(1, 5)
    stream = ours.stream()
    first = stream(x)
    with torch.no_grad():
        ours.weight_ih_l0.mul_(2)
    stream.reset()
    torch.testing.assert_close(stream(x), first)
    stream.refresh()
    stream.reset()
    torch.testing.assert_close(stream(x)[None], ours(x[None])[0].detach())
    assert not torch.equal(stream(x), first)


def replaced_by_hand(ours):
    ours.weight_hh_l1 = nn.Parameter(torch.randn(36, 9))


def replaced_by_assigning(ours):
    ours.load_state_dict(fastlstm.LSTM(5, 9, 2).state_dict(), assign=True)


@pytest.mark.parametrize("replace", [replaced_by_hand, replaced_by_assigning])
def test_refresh_reads_weights_that_were_replaced(replace):
    ours, x = fastlstm.LSTM(5, 9, 2), torch.randn(1, 5)
    stream = ours.stream()
    replace(ours)
    stream.refresh()
    assert_streams_as(stream, ours, x)


def another_size(ours):
    ours.weight_hh_l1 = nn.Parameter(torch.zeros(36, 8))


def another_depth(ours):
    ours.__init__(5, 9)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (nn.Module.bfloat16, r"of layer 0 must be torch.float32 \[36, 5\].* got torch.bfloat16"),
        (another_size, r"of layer 1 must be .*torch.float32 \[36, 9\] on 'cpu'.* got .*\[36, 8\]"),
        (another_depth, "of layer 1 must be .* got None"),
    ],
)
def test_refresh_refuses_another_lstm_and_keeps_the_old(change, words):
    ours, x = fastlstm.LSTM(5, 9, 2), torch.randn(1, 5)
    stream = ours.stream()
    first = stream(x)
    with torch.no_grad():
        ours.weight_ih_l0.mul_(2)  # neither is this read
    change(ours)
    with pytest.raises(ValueError, match=words):
        stream.refresh()
    stream.reset()
    torch.testing.assert_close(stream(x), first, rtol=0, atol=0)


def test_a_bias_of_one_element_is_broadcast():
    ours, x = fastlstm.LSTM(5, 9, 2), torch.randn(1, 5)
    ours.bias_ih_l1 = nn.Parameter(torch.ones(1))
    stream = ours.stream()
    assert_streams_as(stream, ours, x)
    ours.bias_hh_l0 = nn.Parameter(torch.ones(1))
    stream.refresh()
    assert_streams_as(stream, ours, x)


def test_under_another_default_device():
    ours, x = fastlstm.LSTM(5, 9), torch.randn(1, 5)
    with torch.device("meta"):
        stream = ours.stream()
        stream.refresh()
        y, state = stream(x), stream.state
        several = stream(x[None])
    assert y.is_cpu
    assert several.is_cpu
    assert all(s.is_cpu for s in state)
    assert_streams_as(stream, ours, x)
