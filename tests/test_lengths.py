"""`lengths` and `resets`: as packing, and as running each episode by itself."""

import copy
import itertools

import pytest
import torch
from accuracy import assert_as_accurate, to_float64
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import fastlstm
from fastlstm.verify import make_ours

T, B, I, H = 9, 5, 6, 18
LENGTHS = [4, 9, 1, 9, 6]
CONFIGS = {
    "plain": {},
    "stacked": {"num_layers": 3, "bidirectional": True},
    "batch-first": {"batch_first": True, "num_layers": 2},
    "no-bias": {"bias": False},
    "proj": {"proj_size": 4, "bidirectional": True},
}
BACKENDS = ["auto", "aten", "reference"]
each_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


def make_inputs(peer):
    shape = (B, T, I) if peer.batch_first else (T, B, I)
    rows = peer.num_layers * (1 + peer.bidirectional)
    hx = torch.randn(rows, B, peer.proj_size or H), torch.randn(rows, B, H)
    return torch.randn(shape), hx


def packed(module, x, hx):
    """What nn.LSTM's user does today."""
    given = pack_padded_sequence(x, LENGTHS, module.batch_first, enforce_sorted=False)
    output, state = module(given, hx)
    return pad_packed_sequence(output, module.batch_first, total_length=T)[0], state


def episodes(resets, reset_hx=None):
    """Each sequence cut where it is reset, each part by itself, in plain Python."""

    def run(module, x, hx):
        dim = 1 if module.batch_first else 0
        outputs, states = [], []
        for b in range(B):
            item = x.select(1 - dim, b)
            cuts = [0, *(t for t in range(1, T) if resets[t][b]), T]
            before = tuple(s[:, b] for s in hx)
            resumed = [0 * s for s in hx] if reset_hx is None else reset_hx
            after = tuple(s[:, b] for s in resumed)
            parts = list(itertools.pairwise(cuts))
            ends = [None] * len(parts)
            ys = []
            for n, (begin, end) in enumerate(parts):
                first, last = n == 0, n == len(parts) - 1
                start = [
                    torch.stack([
                        (own if (last if d % 2 and module.bidirectional else first) else other)[d]
                        for d in range(own.shape[0])
                    ])
                    for own, other in zip(before, after, strict=True)
                ]  # fmt: skip
                y, ends[n] = module(item[begin:end], tuple(start))
                ys.append(y)
            final = [
                torch.stack([
                    ends[0 if d % 2 and module.bidirectional else -1][k][d]
                    for d in range(hx[k].shape[0])
                ])
                for k in range(2)
            ]  # fmt: skip
            outputs.append(torch.cat(ys))
            states.append(final)
        h, c = (torch.stack([s[k] for s in states], 1) for k in range(2))
        return torch.stack(outputs, 1 - dim), (h, c)

    return run


def results(call, module, x, hx):
    """Outputs and every gradient by name."""
    x, hx = x.detach().requires_grad_(), tuple(s.detach().requires_grad_() for s in hx)
    output, (h_n, c_n) = call(module, x, hx)
    named = {"output": output, "h_n": h_n, "c_n": c_n}
    leaves = {"input": x, "h_0": hx[0], "c_0": hx[1]} | dict(module.named_parameters())
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
    loss = (output * weights).sum() + h_n.square().sum() + c_n.sin().sum()
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    return named | {f"d{k}": d for k, d in zip(leaves, gradients, strict=True)}


def assert_alike(ours, ours_call, peer, peer_call, x, hx, slack=2.0):
    oracle = results(peer_call, copy.deepcopy(peer).double(), x.double(), to_float64(hx))
    theirs = results(peer_call, peer, x, hx)
    for name, got in results(ours_call, ours, x, hx).items():
        assert_as_accurate(name, got, oracle[name], theirs[name], slack)


@pytest.mark.parametrize("backend", BACKENDS)
@each_config
def test_lengths_give_what_packing_gives(config, backend):
    peer = nn.LSTM(I, H, **config)
    call = lambda module, x, hx: module(x, hx, lengths=LENGTHS)  # noqa: E731
    assert_alike(make_ours(peer, backend), call, peer, packed, *make_inputs(peer))


@pytest.mark.parametrize("given", [torch.tensor(LENGTHS), torch.tensor(LENGTHS).int(), LENGTHS])
def test_forms_of_lengths(given):
    ours = fastlstm.LSTM(I, H)
    x, _ = make_inputs(ours)
    torch.testing.assert_close(ours(x, lengths=given), packed(ours, x, None))
    with torch.no_grad():
        torch.testing.assert_close(ours(x, lengths=given), packed(ours, x, None))


@each_config
def test_what_lies_beyond_a_length_is_not_read(config):
    ours = fastlstm.LSTM(I, H, **config)
    x, hx = make_inputs(ours)
    expected = results(lambda m, x, hx: m(x, hx, lengths=LENGTHS), ours, x, hx)
    for b, length in enumerate(LENGTHS):
        x.select(0 if ours.batch_first else 1, b)[length:] = float("nan")
    for name, got in results(lambda m, x, hx: m(x, hx, lengths=LENGTHS), ours, x, hx).items():
        assert torch.equal(got, expected[name]), name


@pytest.mark.parametrize("config", [{}, {"bidirectional": True, "num_layers": 2}], ids=str)
def test_items_without_steps_keep_their_states(config):
    ours = fastlstm.LSTM(I, H, **config)
    x, hx = make_inputs(ours)
    output, (h_n, c_n) = ours(x, hx, lengths=[0, 9, 0, 3, 0])
    for b in (0, 2, 4):
        assert not output[:, b].any()
        assert torch.equal(h_n[:, b], hx[0][:, b])
        assert torch.equal(c_n[:, b], hx[1][:, b])
    alone, state = ours(x[:3, 3], tuple(s[:, 3] for s in hx))
    torch.testing.assert_close(output[:3, 3], alone)
    torch.testing.assert_close((h_n[:, 3], c_n[:, 3]), state)
    output, state = ours(x, hx, lengths=[0] * B)
    assert not output.any()
    assert torch.equal(state[0], hx[0])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("to", ["zero", "given"])
@each_config
def test_resets_give_what_each_episode_gives(config, to, backend):
    peer = nn.LSTM(I, H, **config)
    x, hx = make_inputs(peer)
    resets = torch.rand(T, B, generator=torch.Generator().manual_seed(3)) < 0.3
    resets[0] = False
    resets[:, 1] = False
    after = None if to == "zero" else make_inputs(peer)[1]
    given = resets.t() if peer.batch_first else resets

    def call(module, x, hx):
        other = after and tuple(s.to(x.dtype) for s in after)
        return module(x, hx, resets=given, reset_hx=other)

    def one_by_one(module, x, hx):
        other = after and tuple(s.to(x.dtype) for s in after)
        return episodes(resets.tolist(), other)(module, x, hx)

    # Sums over so few rows are exact by luck, one by one as together.
    assert_alike(make_ours(peer, backend), call, peer, one_by_one, x, hx, slack=4.0)


def test_a_reset_before_the_first_step():
    ours = fastlstm.LSTM(I, H)
    x, hx = make_inputs(ours)
    resets = torch.zeros(T, B, dtype=torch.bool)
    resets[0, 2] = True
    output, _ = ours(x, hx, resets=resets)
    fresh, _ = ours(x)
    kept, _ = ours(x, hx)
    torch.testing.assert_close(output[:, 2], fresh[:, 2])
    torch.testing.assert_close(output[:, :2], kept[:, :2])


def test_resets_and_lengths_together():
    ours = fastlstm.LSTM(I, H, 2)
    x, hx = make_inputs(ours)
    resets = torch.zeros(T, B, dtype=torch.bool)
    resets[2], resets[5, 1] = True, True
    output, (h_n, _) = ours(x, hx, lengths=LENGTHS, resets=resets)
    for b, length in enumerate(LENGTHS):
        expected, (h, _) = ours(x[:, b : b + 1], None, resets=resets[:, b : b + 1])
        torch.testing.assert_close(output[2:length, b], expected[2:length, 0])
        assert not output[length:, b].any()
        if length == T:
            torch.testing.assert_close(h_n[:, b], h[:, 0])


@pytest.mark.parametrize("config", [{}, {"dropout": 0.5, "num_layers": 3}], ids=str)
def test_training_with_dropout_and_frozen_layers(config):
    ours = fastlstm.LSTM(I, H, **config)
    x, _ = make_inputs(ours)
    ours.weight_hh_l0.requires_grad_(False)
    output, _ = ours(x, lengths=LENGTHS)
    output.sum().backward()
    assert ours.weight_ih_l0.grad.isfinite().all()


WRONG = {
    "too-long": ({"lengths": [1, 2, 3, 4, 10]}, "lengths must be from 0 to 9"),
    "negative": ({"lengths": [1, 2, 3, 4, -1]}, "lengths must be from 0 to 9"),
    "too-few": ({"lengths": [1, 2]}, "lengths must be 5 integers"),
    "floats": ({"lengths": [1.0] * B}, "lengths must be 5 integers"),
    "resets-dtype": ({"resets": torch.zeros(T, B)}, "resets must be bool"),
    "resets-shape": ({"resets": torch.zeros(B, T, dtype=torch.bool)}, r"resets must have shape"),
    "reset_hx-alone": ({"reset_hx": (torch.zeros(1, B, H),) * 2}, "reset_hx must come with resets"),
    "reset_hx-shape": (
        {"resets": torch.zeros(T, B) > 0, "reset_hx": (torch.zeros(1, B, H), torch.zeros(B))},
        r"reset_hx: c must have shape \[1, 5, 18\], got \[5\]",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("given", "words"), WRONG.values(), ids=WRONG.keys())
def test_wrong_arguments(given, words):
    with pytest.raises(ValueError, match=words):
        fastlstm.LSTM(I, H)(torch.zeros(T, B, I), **given)


def test_only_of_a_padded_batch():
    ours, x = fastlstm.LSTM(I, H), torch.zeros(T, B, I)
    for given in (x[:, 0], pack_padded_sequence(x, [T] * B)):
        with pytest.raises(ValueError, match="must come with a padded 3D input, got"):
            ours(given, lengths=[3])


@pytest.mark.parametrize(
    "config", [{}, {"num_layers": 2, "bidirectional": True}, {"proj_size": 3}], ids=str
)
def test_jagged_nested_tensors(config):
    ours = fastlstm.LSTM(I, H, batch_first=True, **config)
    x, hx = make_inputs(ours)
    items = [x[b, :length] for b, length in enumerate(LENGTHS)]
    nested = torch.nested.nested_tensor(items, layout=torch.jagged, requires_grad=True)
    padded = x.requires_grad_()
    output, state = ours(nested, hx)
    expected, expected_state = packed(ours, padded, hx)
    torch.testing.assert_close(state, expected_state)
    assert output.is_nested
    for b, item in enumerate(output.unbind()):
        torch.testing.assert_close(item, expected[b, : LENGTHS[b]])
    output.values().square().sum().backward()
    expected.square().sum().backward()
    for b, item in enumerate(nested.grad.unbind()):
        torch.testing.assert_close(item, padded.grad[b, : LENGTHS[b]])
    torch.testing.assert_close(ours(nested)[1], packed(ours, padded, None)[1])


def test_nested_tensors_that_can_not_be_taken():
    nested = torch.nested.nested_tensor([torch.zeros(2, I), torch.zeros(3, I)], layout=torch.jagged)
    with pytest.raises(ValueError, match=r"batch_first=True, got torch\.jagged"):
        fastlstm.LSTM(I, H)(nested)
    with pytest.raises(RuntimeError, match="must be equal to input_size"):
        fastlstm.LSTM(I + 1, H, batch_first=True)(nested)
