"""`precision="int8"`: what comes of weights that are rounded to 8 bits, in float64 as in C++."""

import pytest
import torch
from accuracy import assert_as_accurate, named_outputs, to_float64
from rounding import results_in_16_bits, rounded
from torch.nn.utils.rnn import pack_padded_sequence

from fastlstm import reference
from fastlstm.verify import Case, make_inputs, make_ours, make_peer

CASES = [
    Case(1, 1, 1, 1),
    Case(1, 7, 3, 17, layers=2),
    Case(1, 1, 40, 70, layers=2, bidirectional=True, hx=False),
    Case(9, 1, 5, 33, bias=False),
    Case(6, 2, 70, 31),
    Case(5, 3, 1, 64, bidirectional=True),
    Case(5, 0, 3, 5),
    Case(8, 19, 11, 37, layers=2, bidirectional=True, hx=False),
    Case(7, 6, 13, 37, layers=3, bidirectional=True, ragged=True),
    Case(4, 33, 130, 200),
    Case(60, 3, 24, 40, layers=3),
    Case(400, 1, 3, 19),
    Case(5, 4, 9, 130, layers=2, proj=17, bias=False),
    Case(7, 20, 24, 64, layers=2, ragged=True, proj=48),
]


def ours_of(peer):
    ours = make_ours(peer, "cpu")
    ours.precision = "int8"
    return ours


def call_of(case):
    """The arguments of a call, float32."""
    inputs = make_inputs(case)
    x = inputs["input"]
    if case.ragged:
        x = pack_padded_sequence(x, case.lengths(), enforce_sorted=False)
    return x, (inputs["h_0"], inputs["c_0"]) if case.hx else None


@pytest.mark.parametrize("case", CASES, ids=str)
@torch.no_grad()
def test_results_are_those_of_rounded_weights(isa, threads, case):
    """As far from float64 as float32 is; where integers are multiplied, as 16 bits of x and h."""
    peer = make_peer(case)
    x, hx = call_of(case)
    oracle = named_outputs(rounded(peer), to_float64(x), to_float64(hx))
    if isa in ("avx512bf16", "amx") and not case.proj:
        peers = results_in_16_bits(case, rounded(peer))
    else:
        peers = named_outputs(rounded(peer).float(), x, hx)
    for name, got in named_outputs(ours_of(peer), x, hx).items():
        assert_as_accurate(name, got, oracle[name], peers[name])


@pytest.mark.parametrize(
    "case", [Case(9, 3, 20, 70, layers=2), Case(4, 2, 9, 64, proj=20)], ids=str
)
@torch.no_grad()
def test_weights_are_rounded(isa, case):
    """And those of the other precisions, which the kernels keep beside them, are not."""
    peer = make_peer(case)
    x, hx = call_of(case)
    ours = ours_of(peer)
    exact = peer(x, hx)[0]
    for _ in range(3):
        ours.precision = None
        torch.testing.assert_close(ours(x, hx)[0], exact)
        ours.precision = "int8"
        assert 1e-4 < (ours(x, hx)[0] - exact).abs().max() < 0.05


@torch.no_grad()
def test_weights_that_change_are_seen(isa):
    peer = make_peer(Case(3, 1, 20, 70))
    x, ours = torch.randn(3, 1, 20), ours_of(peer)
    before = ours(x)[0]
    ours.weight_hh_l0[5, 7].add_(1)
    after = ours(x)[0]
    ours.weight_hh_l0[5, 7].sub_(1)
    assert not torch.equal(before, after)
    torch.testing.assert_close(ours(x)[0], before, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "case",
    [
        Case(9, 33, 30, 60),
        Case(200, 14, 20, 40),
        Case(7, 5, 20, 200, layers=2),
        Case(5, 3, 20, 200, bidirectional=True, layers=2),
        Case(60, 3, 24, 40, layers=3),
        Case(20, 1, 300, 300),
    ],
    ids=str,
)
@torch.no_grad()
def test_threads_and_the_rest_of_the_batch_change_nothing(isa, case, set_threads):
    ours = ours_of(make_peer(case))
    x, (h_0, c_0) = call_of(case)
    whole = ours(x, (h_0, c_0))
    for threads in (2, 3):
        set_threads(threads)
        y, states = ours(x, (h_0, c_0))
        assert torch.equal(y, whole[0])
        assert all(map(torch.equal, states, whole[1]))
    set_threads(1)
    alone = ours(x[:, :1], (h_0[:, :1], c_0[:, :1]))[0]
    assert torch.equal(alone, whole[0][:, :1])


@pytest.mark.parametrize("form", [{}, {"num_layers": 2}, {"proj_size": 5}], ids=str)
@pytest.mark.parametrize("batch", [1, 3])
@torch.no_grad()
def test_a_stream(isa, form, batch):
    ours = ours_of(torch.nn.LSTM(7, 37, **form))
    stream, x = ours.stream(batch), torch.randn(12, batch, 7)
    y, state = ours(x)
    assert torch.equal(torch.stack([stream(x_t) for x_t in x]), y)
    assert all(map(torch.equal, stream.state, state))
    stream.reset()
    assert torch.equal(torch.cat([stream(x[:5]), stream(x[5])[None], stream(x[6:])]), y)


@torch.no_grad()
def test_values_of_any_size(isa):
    """A row's largest magnitude counts, not the batch's; a state above 1, and weights of zero."""
    peer = torch.nn.LSTM(9, 33)
    peer.weight_ih_l0[4], peer.weight_hh_l0[40:60] = 0, 0
    x = torch.randn(6, 5, 9) * torch.tensor([0, 1e-30, 1e-3, 1, 100]).view(1, 5, 1)
    x[2] = 0
    hx = (
        torch.randn(1, 5, 33) * torch.tensor([0, 1e-3, 1, 4, 50]).view(1, 5, 1),
        torch.zeros(1, 5, 33),
    )
    expected = rounded(peer)(x.double(), to_float64(hx))[0]
    got = ours_of(peer)(x, hx)[0]
    torch.testing.assert_close(got, expected.float(), rtol=0, atol=1e-3)
    torch.testing.assert_close(got[:, :3], expected[:, :3].float(), rtol=0, atol=2e-5)


@pytest.mark.parametrize("form", [{}, {"num_layers": 2}, {"proj_size": 5}], ids=str)
@torch.no_grad()
def test_nan_in_x_stays_in_its_sequence(isa, form):
    ours, x = ours_of(torch.nn.LSTM(9, 33, **form)), torch.randn(6, 3, 9)
    clean = ours(x)[0]
    x[2, 1, 4] = float("nan")
    got = ours(x)[0]
    assert got[2:, 1].isnan().all()
    assert torch.equal(got[:2], clean[:2])
    assert torch.equal(got[:, [0, 2]], clean[:, [0, 2]])


def test_gradients_are_of_the_float_weights():
    ours, x = ours_of(torch.nn.LSTM(9, 33)), torch.randn(6, 3, 9)
    weights = [w.detach() for w in ours.parameters()]
    zeros = torch.zeros(1, 3, 33)
    expected = reference.lstm(x, zeros, zeros, weights, None, 1)[0]
    torch.testing.assert_close(ours(x)[0].detach(), expected)
