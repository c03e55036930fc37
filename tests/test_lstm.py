"""Every form of call that nn.LSTM takes gives nn.LSTM's results."""

import pytest
import torch
from accuracy import assert_same_outputs
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence

import fastlstm
from fastlstm.verify import make_ours

T, B, I, H = 7, 5, 11, 18
CONFIGS = {
    "plain": {},
    "no-bias": {"bias": False},
    "layers": {"num_layers": 3},
    "bidirectional": {"bidirectional": True},
    "bidirectional-layers-no-bias": {"bidirectional": True, "num_layers": 2, "bias": False},
    "batch-first": {"batch_first": True},
    "proj": {"proj_size": 4, "num_layers": 2},
    "proj-bidirectional": {"proj_size": 4, "num_layers": 2, "bidirectional": True},
}


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS.keys())
def peer(request):
    return nn.LSTM(I, H, **request.param)


def states(peer, *batch):
    D = 2 if peer.bidirectional else 1
    rows = peer.num_layers * D
    return torch.randn(rows, *batch, peer.proj_size or H), torch.randn(rows, *batch, H)


def padded(peer):
    return torch.randn(B, T, I) if peer.batch_first else torch.randn(T, B, I)


@pytest.mark.parametrize("with_hx", [True, False], ids=["hx", "no-hx"])
@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no-grad"])
class TestForms:
    def test_padded(self, peer, with_hx, grad):
        with torch.set_grad_enabled(grad):
            hx = states(peer, B) if with_hx else None
            assert_same_outputs(make_ours(peer), peer, padded(peer), hx)

    def test_unbatched(self, peer, with_hx, grad):
        with torch.set_grad_enabled(grad):
            hx = states(peer) if with_hx else None
            assert_same_outputs(make_ours(peer), peer, torch.randn(T, I), hx)

    @pytest.mark.parametrize(
        ("lengths", "enforce_sorted"),
        [
            pytest.param([7, 4, 4, 2, 1], True, id="sorted"),
            pytest.param([2, 7, 1, 4, 4], False, id="unsorted"),
            pytest.param([7, 7, 7, 7, 7], False, id="full"),
        ],
    )
    def test_packed(self, peer, with_hx, grad, lengths, enforce_sorted):
        x = pack_padded_sequence(
            padded(peer), lengths, peer.batch_first, enforce_sorted=enforce_sorted
        )
        with torch.set_grad_enabled(grad):
            hx = states(peer, B) if with_hx else None
            assert_same_outputs(make_ours(peer), peer, x, hx)

    def test_empty_batch(self, peer, with_hx, grad):
        x = padded(peer)[:0] if peer.batch_first else padded(peer)[:, :0]
        with torch.set_grad_enabled(grad):
            hx = states(peer, 0) if with_hx else None
            assert_same_outputs(make_ours(peer), peer, x, hx)


def test_packed_equals_each_sequence_alone():
    ours = fastlstm.LSTM(I, H, 2, bidirectional=True)
    sequences = [torch.randn(t, I) for t in (3, 6, 1)]
    output, (h_n, c_n) = ours(pack_sequence(sequences, enforce_sorted=False))
    output, _ = pad_packed_sequence(output)
    for b, sequence in enumerate(sequences):
        alone, (h_alone, c_alone) = ours(sequence)
        torch.testing.assert_close(output[: len(sequence), b], alone)
        torch.testing.assert_close((h_n[:, b], c_n[:, b]), (h_alone, c_alone))


def test_carrying_the_state_equals_one_long_call():
    ours = fastlstm.LSTM(I, H, 2)
    x = torch.randn(T, B, I)
    whole, (h_n, c_n) = ours(x)
    first, hx = ours(x[:3])
    second, (h_2, c_2) = ours(x[3:], hx)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close((h_2, c_2), (h_n, c_n))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=["float64", "bfloat16"])
def test_other_dtypes_run_as_in_nn_lstm(dtype):
    peer = nn.LSTM(I, H, 2, bidirectional=True, dtype=dtype)
    x, hx = torch.randn(T, B, I, dtype=dtype), tuple(s.to(dtype) for s in states(peer, B))
    assert_same_outputs(make_ours(peer), peer, x, hx)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("proj", [0, 3])
def test_autocast_gives_the_dtypes_of_nn_lstm(layers, proj):
    peer = nn.LSTM(I, H, layers, proj_size=proj)
    x = torch.randn(T, B, I)
    with torch.autocast("cpu", torch.bfloat16):
        assert_same_dtypes(make_ours(peer)(x), peer(x))


def assert_same_dtypes(ours, theirs):
    (got, got_states), (expected, expected_states) = ours, theirs
    assert [t.dtype for t in (got, *got_states)] == [t.dtype for t in (expected, *expected_states)]
    torch.testing.assert_close(got, expected, atol=0.02, rtol=0.02)


class TestDropout:
    def test_eval_ignores_it(self):
        peer = nn.LSTM(I, H, 3, dropout=0.5).eval()
        assert_same_outputs(make_ours(peer).eval(), peer, torch.randn(T, B, I))

    @pytest.mark.parametrize(
        "config", [{}, {"bidirectional": True}, {"batch_first": True}], ids=str
    )
    def test_same_seed_same_mask_as_in_nn_lstm(self, config):
        peer, x = nn.LSTM(I, H, 3, dropout=0.5, **config), torch.randn(T, B, I)
        outputs = []
        for module in (make_ours(peer), peer):
            torch.manual_seed(1)
            outputs.append(module(x)[0])
        torch.testing.assert_close(*outputs)

    def test_same_seed_same_mask(self):
        ours, x = fastlstm.LSTM(I, H, 2, dropout=0.5), torch.randn(T, B, I)
        runs = []
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            runs.append(ours(x)[0])
        assert torch.equal(runs[0], runs[1])
        assert not torch.equal(runs[0], runs[2])

    def test_stands_between_layers_only(self):
        ours, x = fastlstm.LSTM(I, H, 2, dropout=1 - 1e-9), torch.randn(T, B, I)
        output, (h_n, _) = ours(x)
        bottom = fastlstm.LSTM(I, H)
        bottom.load_state_dict({k: v for k, v in ours.state_dict().items() if k.endswith("l0")})
        torch.testing.assert_close(h_n[0], bottom(x)[1][0][0])
        assert output.abs().gt(0).all()
        top = fastlstm.LSTM(H, H)
        rest = {k.replace("l1", "l0"): v for k, v in ours.state_dict().items() if k.endswith("l1")}
        top.load_state_dict(rest)
        torch.testing.assert_close(output, top(torch.zeros(T, B, H))[0])

    def test_keeps_the_mean(self):
        dropped, kept = fastlstm.LSTM(I, H, 2, dropout=0.25), fastlstm.LSTM(I, H, 2)
        kept.load_state_dict(dropped.state_dict())
        x = torch.randn(3, 20, I)
        mean = torch.stack([dropped(x)[0] for _ in range(200)]).mean(0)
        assert (mean - kept(x)[0]).abs().max() < 0.02
