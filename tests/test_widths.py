"""A hidden size per layer, on every form of input: as nn.LSTMs of one layer each, in turn."""

import pytest
import torch
from stacked import (
    LENGTHS,
    SIZES,
    B,
    I,
    T,
    assert_alike,
    make_input,
    make_states,
    pair,
)
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import fastlstm

CONFIGS = {
    "plain": {},
    "both-ways": {"bidirectional": True, "batch_first": True},
    "no-bias": {"bias": False},
    "proj": {"proj_size": 4, "bidirectional": True},
    "float64": {"dtype": torch.float64},
    "bfloat16": {"dtype": torch.bfloat16},
}
each_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


@pytest.mark.parametrize("backend", ["auto", "aten", "reference"])
@pytest.mark.parametrize("hx", [True, False], ids=["hx", "no-hx"])
@each_config
def test_padded(config, hx, backend):
    ours, peer = pair(backend=backend, **config)
    assert_alike(ours, peer, make_input(ours), make_states(ours, (B,)) if hx else None)


@pytest.mark.parametrize("hx", [True, False], ids=["hx", "no-hx"])
@each_config
def test_unbatched(config, hx):
    ours, peer = pair(**config)
    assert_alike(ours, peer, make_input(ours, ()), make_states(ours, ()) if hx else None)


@pytest.mark.parametrize("hx", [True, False], ids=["hx", "no-hx"])
@each_config
def test_packed(config, hx):
    ours, peer = pair(**config)
    x = pack_padded_sequence(make_input(ours), LENGTHS, ours.batch_first, enforce_sorted=False)
    assert_alike(ours, peer, x, make_states(ours, (B,)) if hx else None)
    output, _ = ours(x.to(ours.weight_ih_l0.dtype))
    assert torch.equal(output.sorted_indices, x.sorted_indices)


def packed(module, x, hx):
    first = module.layers[0].batch_first
    x = pack_padded_sequence(x, LENGTHS, first, enforce_sorted=False)
    output, states = module(x, hx)
    return pad_packed_sequence(output, first)[0], states


@each_config
def test_lengths(config):
    ours, peer = pair(**config)
    call = lambda module, x, hx: module(x, hx, lengths=LENGTHS)  # noqa: E731
    assert_alike(ours, peer, make_input(ours), make_states(ours, (B,)), call, packed)


def with_resets(resets, after):
    """The stack step by step: before a step a state is what it was, or what it is reset to."""

    def call(module, x, hx):
        states = []
        for n, layer in enumerate(module.layers):
            state, ys = (hx[0][n], hx[1][n]), []
            for t, x_t in enumerate(x):
                mask = resets[t, :, None]
                state = tuple(
                    torch.where(mask, other[n].to(own), own)
                    for own, other in zip(state, after, strict=True)
                )
                y, state = layer(x_t[None], state)
                ys.append(y)
            x = torch.cat(ys)
            states.append(state)
        return x, tuple(zip(*states, strict=True))

    return call


@pytest.mark.parametrize("to", ["zero", "given"])
@pytest.mark.parametrize("config", [{}, {"proj_size": 4}], ids=str)
def test_resets(config, to):
    ours, peer = pair(**config)
    batch = (20,)  # a gradient of few items is exact by luck
    hx, after, resets = *(make_states(ours, batch) for _ in "ab"), torch.rand(T, *batch) < 0.4
    given = after if to == "given" else None
    if given is None:
        after = tuple(tuple(0 * state for state in own) for own in after)
    assert resets.any()
    call = lambda module, x, hx: module(x, hx, resets=resets, reset_hx=given)  # noqa: E731
    assert_alike(ours, peer, make_input(ours, batch), hx, call, with_resets(resets, after))


@pytest.mark.parametrize("config", [{}, {"bidirectional": True}], ids=str)
@pytest.mark.parametrize("holes", [False, True], ids=["dense", "holes"])
def test_jagged_nested(config, holes):
    ours, _ = pair(batch_first=True, **config)
    x, hx = make_input(ours), make_states(ours, (B,))
    lengths = torch.tensor(LENGTHS)
    if holes:
        offsets = torch.tensor([0, T, 2 * T, 3 * T])
        nested = torch.nested.nested_tensor_from_jagged(x.flatten(0, 1), offsets, lengths)
    else:
        items = [x[b, :length] for b, length in enumerate(LENGTHS)]
        nested = torch.nested.nested_tensor(items, layout=torch.jagged)
    output, states = ours(nested, hx)
    expected, expected_states = ours(x, hx, lengths=lengths)
    torch.testing.assert_close(states, expected_states)
    for b, item in enumerate(output.unbind()):
        torch.testing.assert_close(item, expected[b, : LENGTHS[b]])
    assert ours.train()(nested)[0].is_nested


def forms(ours):
    """Each form of input: a call and what it is of."""
    x = make_input(ours)
    packed_x = pack_padded_sequence(x, LENGTHS, ours.batch_first, enforce_sorted=False)
    yield "padded", lambda: ours(x)[0]
    yield "unbatched", lambda: ours(x.select(0 if ours.batch_first else 1, 1))[0]
    yield "packed", lambda: ours(packed_x)[0].data
    yield "lengths", lambda: ours(x, lengths=LENGTHS)[0]
    resets = torch.zeros(x.shape[:2], dtype=torch.bool)
    yield "resets", lambda: ours(x, resets=resets)[0]
    if ours.batch_first:
        offsets = torch.tensor([0, T, 2 * T, 3 * T])
        for lengths in (None, torch.tensor(LENGTHS)):
            nested = torch.nested.nested_tensor_from_jagged(x.flatten(0, 1), offsets, lengths)
            yield "nested", lambda nested=nested: ours(nested)[0].values()


@pytest.mark.parametrize("batch_first", [False, True])
def test_dropout_between_layers_in_training_alone(batch_first):
    ours = fastlstm.LSTM(I, SIZES, dropout=0.5, batch_first=batch_first)
    for name, call in forms(ours):
        ours.eval()
        expected = call()
        assert torch.equal(call(), expected), name
        ours.train()
        first, second = call(), call()
        assert not torch.equal(first, second), name
        ours.dropout = 1e-9  # the way of dropout, and nothing dropped
        torch.testing.assert_close(call(), expected, msg=name)
        ours.dropout = 0.5


@pytest.mark.parametrize("batch_first", [False, True])
def test_equal_sizes_draw_the_masks_of_nn_lstm(batch_first):
    peer = nn.LSTM(I, 9, 3, dropout=0.5, batch_first=batch_first)
    ours = fastlstm.LSTM(I, [9, 9, 9], dropout=0.5, batch_first=batch_first)
    ours.load_state_dict(peer.state_dict())
    x = make_input(ours)
    for form in (x, pack_padded_sequence(x, LENGTHS, batch_first, enforce_sorted=False)):
        outputs = []
        for module in (ours, peer):
            torch.manual_seed(4)
            outputs.append(module(form)[0])
        for got, expected in zip(*(y if y is not None else () for y in outputs), strict=True):
            torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("form", ["padded", "packed"])
@pytest.mark.parametrize("config", [{}, {"bidirectional": True}, {"proj_size": 4}], ids=str)
def test_autocast(config, form):
    ours, peer = pair(**config)
    x, hx = make_input(ours), make_states(ours, (B,))
    if form == "packed":
        x = pack_padded_sequence(x, LENGTHS, enforce_sorted=False)
    with torch.autocast("cpu", torch.bfloat16):
        for given in (None, hx):
            (y, states), (peer_y, peer_states) = ours(x, given), peer(x, given)
            assert y[0].dtype == peer_y[0].dtype
            torch.testing.assert_close(y[0], peer_y[0], rtol=0.02, atol=0.02)
            torch.testing.assert_close(states, peer_states, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("sizes", [[9], [9, 9]], ids=str)
def test_any_list_has_tuples_of_states(sizes):
    ours, peer = pair(sizes)
    assert_alike(ours, peer, make_input(ours), make_states(ours, (B,)))
