"""`LSTM.stream()`: step by step as the module does it, with the state inside."""

import threading

import pytest
import torch
from accuracy import assert_as_accurate
from torch import nn

import fastlstm
from fastlstm.backends import cpu
from fastlstm.verify import make_ours

FORMS = [{}, {"num_layers": 2}, {"num_layers": 3, "bias": False}, {"proj_size": 5, "num_layers": 2}]


@pytest.fixture(params=cpu.isas())
def isa(request):
    with cpu.use_isa(request.param):
        yield request.param


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_many_steps_are_those_of_nn_lstm(isa, form, dtype, batch):
    peer = nn.LSTM(7, 19, **form).to(dtype)
    stream = make_ours(peer, "cpu").stream(batch)
    x = torch.randn(12, batch, 7).to(dtype)
    oracle, oracle_state = nn.LSTM(7, 19, **form).double(), None
    oracle.load_state_dict(peer.state_dict())
    with torch.no_grad():
        expected, oracle_state = oracle(x.double())
        peers, peer_state = peer(x)
    steps = torch.stack([stream(x_t) for x_t in x])
    assert_as_accurate("y", steps, expected, peers)
    for name, got, exact, other in zip("hc", stream.state, oracle_state, peer_state, strict=True):
        assert_as_accurate(name, got.to(dtype), exact, other)
    stream.reset()
    torch.testing.assert_close(stream(x), steps)
    stream.reset()
    parts = torch.cat([stream(x[:5]), stream(x[5])[None], stream(x[6:])])
    torch.testing.assert_close(parts, steps)


@pytest.mark.parametrize("threads", [1, 2])
def test_bf16_weights(threads, set_threads):
    set_threads(threads)
    peer = nn.LSTM(40, 300, 2)
    ours = fastlstm.LSTM(40, 300, 2, precision="bf16")
    ours.load_state_dict(peer.state_dict())
    stream, x = ours.stream(), torch.randn(20, 1, 40)
    y = torch.stack([stream(x_t) for x_t in x])
    assert y.dtype == torch.float32
    with torch.no_grad():
        exact = peer.double()(x.double())[0]
        rounded = peer.bfloat16()(x.bfloat16())[0]
    error = (y - exact).abs().max()
    assert 1e-6 < error < 2 * (rounded - exact).abs().max()


def test_state_goes_in_and_out():
    ours, x = fastlstm.LSTM(5, 9, 2), torch.randn(4, 2, 5)
    stream = ours.stream(2)
    state = torch.randn(2, 2, 9), torch.randn(2, 2, 9)
    stream.state = state
    torch.testing.assert_close(stream.state, state)
    output, final = ours(x, state)
    torch.testing.assert_close(stream(x), output.detach())
    torch.testing.assert_close(stream.state, tuple(s.detach() for s in final))
    before = stream.state
    before[0].zero_()
    assert stream.state[0].any()


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(5),
        torch.zeros(2, 5),
        torch.zeros(1, 4),
        torch.zeros(3, 2, 5),
        torch.zeros(1, 1, 1, 5),
        torch.zeros(1, 5).double(),
    ],
    ids=lambda x: f"{tuple(x.shape)}-{x.dtype}",
)
def test_wrong_input_is_an_error_and_leaves_the_state(x):
    stream = fastlstm.LSTM(5, 9).stream()
    stream(torch.randn(1, 5))
    before = stream.state
    with pytest.raises(ValueError, match=r"x must be torch.float32 on the CPU, \[1, 5\] or"):
        stream(x)
    torch.testing.assert_close(stream.state, before, rtol=0, atol=0)


def test_what_cannot_stream_says_so():
    with pytest.raises(ValueError, match="bidirectional=True"):
        fastlstm.LSTM(5, 9, bidirectional=True).stream()
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        fastlstm.LSTM(5, 9).stream(0)
    with pytest.raises(RuntimeError, match=r"it needs torch\.float32 or torch\.bfloat16"):
        fastlstm.LSTM(5, 9, dtype=torch.float64).stream()
    stream = fastlstm.LSTM(5, 9).stream()
    with pytest.raises(ValueError, match=r"state: h must have shape \[1, 1, 9\], got \[1, 9\]"):
        stream.state = torch.zeros(1, 9), torch.zeros(1, 1, 9)


def test_no_steps_and_strided_steps():
    stream = fastlstm.LSTM(5, 9).stream(2)
    assert stream(torch.zeros(0, 2, 5)).shape == (0, 2, 9)
    x = torch.randn(5, 2, 6).permute(2, 1, 0)
    first = stream(x)
    stream.reset()
    torch.testing.assert_close(stream(x.contiguous()), first, rtol=0, atol=0)


def test_threads_take_turns():
    """Steps with the same input, from several threads: as many as were asked for, whole ones."""
    ours, x = fastlstm.LSTM(5, 9), torch.randn(1, 5)
    stream, alone = ours.stream(), ours.stream()
    threads = [threading.Thread(target=lambda: [stream(x) for _ in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in range(800):
        alone(x)
    torch.testing.assert_close(stream.state, alone.state, rtol=0, atol=0)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("precision", [None, "bf16", "int8"])
def test_many_steps_of_a_small_stack(isa, precision, threads, set_threads):
    """They go in wavefront on two threads; steps one by one do not."""
    set_threads(threads)
    stream = fastlstm.LSTM(9, 40, 3, precision=precision).stream(2)
    x = torch.randn(90, 2, 9)
    steps = torch.stack([stream(x_t) for x_t in x])
    state = stream.state
    stream.reset()
    assert torch.equal(torch.cat([stream(x[:50]), stream(x[50:])]), steps)
    assert all(torch.equal(a, b) for a, b in zip(stream.state, state, strict=True))
