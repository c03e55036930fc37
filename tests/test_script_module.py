"""Ours inside a `torch.jit.ScriptModule`: torch.jit compiles what a module holds, as it is."""

import io
import pickle
import re

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import fastlstm
from fastlstm.verify import make_ours

I, H = 5, 6
CONFIGS = {
    "plain": {},
    "stacked": {"num_layers": 2, "bidirectional": True, "batch_first": True},
    "no-bias": {"bias": False},
    "proj": {"proj_size": 4},
}
pytestmark = pytest.mark.filterwarnings("ignore")


class ScriptedTensors(torch.jit.ScriptModule):
    def __init__(self, lstm):
        super().__init__()
        self.x = lstm

    @torch.jit.script_method
    def forward(self, input, hx: tuple[torch.Tensor, torch.Tensor] | None = None):
        return self.x(input, hx)


class ScriptedPacked(torch.jit.ScriptModule):
    def __init__(self, lstm):
        super().__init__()
        self.x = lstm

    @torch.jit.script_method
    def forward(
        self, input: PackedSequence, hx: tuple[torch.Tensor, torch.Tensor] | None = None
    ) -> tuple[PackedSequence, tuple[torch.Tensor, torch.Tensor]]:
        return self.x(input, hx)


def state_of(module, *batch):
    rows = module.num_layers * (1 + module.bidirectional)
    sizes = module.proj_size or H, H
    return tuple(torch.randn(rows, *batch, size) for size in sizes)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
class TestLSTMInAScriptModule:
    def test_tensors(self, config):
        peer = nn.LSTM(I, H, **config)
        ours = make_ours(peer)
        scripted = ScriptedTensors(ours)
        file = io.BytesIO()
        torch.jit.save(scripted, file)
        file.seek(0)
        for function in (scripted, torch.jit.load(file)):
            x = torch.randn(4, 3, I)
            with_hx = (x, state_of(peer, x.shape[1 - peer.batch_first])), (x[0], state_of(peer))
            for given in ((x,), (x[0],), *with_hx):
                torch.testing.assert_close(function(*given), peer(*given))
        parameters = list(scripted.parameters())
        scripted(x)[0].square().sum().backward()
        for got, weight in zip(parameters, peer.parameters(), strict=True):
            (expected,) = torch.autograd.grad(peer(x)[0].square().sum(), weight)
            torch.testing.assert_close(got.grad, expected)
        assert all(p is q for p, q in zip(parameters, ours.parameters(), strict=True))

    @pytest.mark.parametrize("lengths", [[2, 4, 3], [4, 3, 2]], ids=["any-order", "sorted"])
    def test_packed(self, config, lengths):
        peer = nn.LSTM(I, H, **config)
        x = torch.randn((3, 4, I) if peer.batch_first else (4, 3, I))
        given = pack_padded_sequence(x, lengths, peer.batch_first, enforce_sorted=lengths[0] == 4)
        scripted = ScriptedPacked(make_ours(peer))
        for hx in (None, state_of(peer, 3)):
            torch.testing.assert_close(tuple(scripted(given, hx)[0]), tuple(peer(given, hx)[0]))
            torch.testing.assert_close(scripted(given, hx)[1], peer(given, hx)[1])

    @pytest.mark.parametrize(
        ("shape", "state"),
        [((2, 3, I + 1), ()), ((1, 2, 3, I), ()), ((2, I), (3,)), ((2, 3, I), (1, 1))],
        ids=["features", "4D", "batched-state", "batch"],
    )
    def test_errors_are_nn_lstms(self, config, shape, state):
        peer = nn.LSTM(I, H, **config)
        given = torch.zeros(shape), state_of(peer, *state) if state else None
        with pytest.raises((RuntimeError, ValueError)) as expected:
            peer(*given)
        with pytest.raises(torch.jit.Error, match=re.escape(said(expected.value))):
            ScriptedTensors(make_ours(peer))(*given)


def said(error):
    return f"builtins.{type(error).__name__}: {error}"


def test_a_converted_lstm():
    module, x = nn.LSTM(I, H), torch.randn(4, 3, I)
    expected = module(x)
    fastlstm.convert(module)
    torch.testing.assert_close(ScriptedTensors(module)(x), expected)
    pickled = pickle.loads(pickle.dumps(module))  # beside what torch.jit left in it
    torch.testing.assert_close(ScriptedTensors(pickled)(x), expected)


@pytest.mark.parametrize(
    "argument", ["lengths=steps", "resets=resets", "reset_hx=hx", "return_cells", "return_gates"]
)
def test_an_argument_that_torchs_has_not_is_refused(argument):
    lstm = fastlstm.LSTM(I, H)
    scripted = ScriptedTensors(lstm)
    name, _, value = argument.partition("=")
    scripted.define(
        f"def with_{name}(self, x, steps, resets, hx: Tuple[Tensor, Tensor]):\n"
        f"  return self.x(x, {name}={value or True})\n"
    )
    given = torch.zeros(4, 3, I), torch.tensor([4, 2, 3]), torch.zeros(4, 3) > 0
    with pytest.raises(torch.jit.Error, match=f"takes no {name}$"):
        getattr(scripted, f"with_{name}")(*given, state_of(lstm, 3))


@pytest.mark.parametrize(
    ("regularization", "in_eval"),
    [
        ({"recurrent_dropout": 0.5}, False),
        ({"weight_drop": 1}, False),
        ({"locked_dropout": True, "dropout": 0.5, "num_layers": 2}, False),
        ({"zoneout": 0.1}, True),
        ({"zoneout": 1}, True),
        ({"zoneout": (0.0, 0.1)}, True),
    ],
    ids=str,
)
def test_regularization_that_torchs_has_not_is_refused(regularization, in_eval):
    ours, x = fastlstm.LSTM(I, H, **regularization), torch.randn(4, 3, I)
    scripted, (name, *_) = ScriptedTensors(ours), regularization
    with pytest.raises(torch.jit.Error, match=f"in training mode with {name}$"):
        scripted(x)
    scripted.eval()
    if in_eval:
        with pytest.raises(torch.jit.Error, match=f"in eval mode with {name}$"):
            scripted(x)
    else:
        torch.testing.assert_close(scripted(x), ours.eval()(x))


def test_regularization_that_is_set_later_is_refused():
    scripted = ScriptedTensors(fastlstm.LSTM(I, H))
    scripted(torch.zeros(4, 3, I))
    scripted.x.zoneout = 0.1
    with pytest.raises(torch.jit.Error, match=r"zoneout$"):
        scripted(torch.zeros(4, 3, I))


@pytest.mark.parametrize("sizes", [[6, 7], [6, 6], [6]], ids=str)
def test_a_list_of_hidden_sizes_is_refused(sizes):
    with pytest.raises(torch.jit.Error, match="hidden_size must be an int in a ScriptModule"):
        ScriptedTensors(fastlstm.LSTM(I, sizes))(torch.zeros(4, 3, I))


def test_locked_dropout_without_dropout_runs():
    ours, x = fastlstm.LSTM(I, H, locked_dropout=True), torch.randn(4, 3, I)
    torch.testing.assert_close(ScriptedTensors(ours)(x), ours(x))


@pytest.mark.parametrize("batch", [(), (3,)], ids=["unbatched", "batch"])
def test_a_cell_in_a_script_module(batch):
    class Scripted(torch.jit.ScriptModule):
        def __init__(self, cell):
            super().__init__()
            self.cell = cell

        @torch.jit.script_method
        def forward(self, x):
            h, c = self.cell(x)
            return self.cell(x, (h, c))

    for bias in (True, False):
        cell, x = fastlstm.LSTMCell(I, H, bias), torch.randn(*batch, I)
        got = Scripted(cell)(x)
        torch.testing.assert_close(got, cell(x, cell(x)))
