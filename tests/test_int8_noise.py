"""`precision="int8"` with zoneout and dropout on h: weights are rounded, the rest is in floats."""

import copy

import pytest
import torch
from rounding import rounded

import fastlstm

NOISES = [
    (False, {"zoneout": (0.3, 0.1)}),
    (True, {"zoneout": (0.3, 0.1)}),
    (True, {"recurrent_dropout": 0.4, "num_layers": 2, "bidirectional": True}),
    (True, {"recurrent_dropout": 0.4, "zoneout": (0.3, 0.0), "proj_size": 6}),
]


@pytest.mark.parametrize(("training", "form"), NOISES, ids=str)
@pytest.mark.parametrize("batch", [1, 3])
@torch.no_grad()
def test_noise_is_of_floats(isa, training, form, batch):
    """Bitwise as with float32 weights that are what 8 bits hold."""
    ours = fastlstm.LSTM(9, 37, backend="cpu", precision="int8", **form).train(training)
    plain = fastlstm.LSTM(9, 37, backend="cpu", **form).train(training)
    plain.load_state_dict(rounded(ours).state_dict())
    x, found = torch.randn(5, batch, 9), []
    for lstm in (ours, ours, plain):
        torch.manual_seed(1)
        y, states = lstm(x)
        found.append((y, *states))
    for others in found[1:]:
        assert all(map(torch.equal, found[0], others))
    if not training:
        stream = ours.stream(batch)
        assert torch.equal(torch.stack([stream(x_t) for x_t in x]), found[0][0])


@torch.no_grad()
def test_noise_that_comes_and_goes(isa):
    """Weights are packed for what a call is: with noise for floats."""
    ours = fastlstm.LSTM(9, 37, recurrent_dropout=0.5, backend="cpu", precision="int8")
    x = torch.randn(5, 3, 9)
    for training in (True, False, True, False):
        found = []
        for lstm in (ours.train(training), copy.deepcopy(ours)):
            torch.manual_seed(0)
            found.append(lstm(x)[0])
        assert torch.equal(*found)
