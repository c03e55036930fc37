"""Peers give nn.LSTM's results where they are installed, and a line where they are not."""

import copy
import importlib.util
from dataclasses import replace

import pytest
import torch
from torch import nn

from fastlstm.backends.triton import selection
from fastlstm.backends.triton.measured import MEASURED, Kind
from fastlstm.bench import peers
from fastlstm.bench.case import Case
from fastlstm.bench.check import expected_results, refusal
from fastlstm.bench.providers import Provider, choose_providers, fastlstm_providers


def assert_right(case, make, gradients=None):
    trains = gradients is not None
    provider = Provider("peer", make, lambda case, device: None, trains=trains)
    if trains:
        provider = Provider("peer", make, lambda case, device: None, gradients=gradients)
    module = provider.make(case.make_lstm("cpu"))
    assert refusal(provider, module, case, "cpu", expected_results(case, "cpu")) is None


@pytest.mark.parametrize(
    "case",
    [
        Case(3, 5, 1, 4, 6),
        Case(3, 5, 3, 4, 6, bidirectional=True),
        Case(7, 5, 2, 1, 1),
    ],
    ids=str,
)
def test_onnxruntime(case):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    assert_right(case, peers.OnnxRuntime)


@pytest.mark.parametrize("case", [Case(3, 8, 2, 4, 6), Case(8, 16, 1, 1, 1)], ids=str)
def test_flashrnn_in_its_own_pytorch_version(case):
    if importlib.util.find_spec("flashrnn") is None:
        pytest.skip("flashrnn is a peer, not a dependency: checked where it is installed")
    assert_right(case, lambda lstm: peers.FlashRNN(lstm, "vanilla"), peers.FlashRNN.gradients)


class HasteLayer(nn.Module):
    """As haste_pytorch.LSTM: kernel [I, 4H], recurrent_kernel [H, 4H], gates i, g, f, o."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.hidden_size = hidden_size
        self.kernel = nn.Parameter(torch.empty(input_size, 4 * hidden_size))

    def from_native_weights(self, weight_ih, weight_hh, bias_ih, bias_hh):
        def reorder(weight):
            i, f, g, o = weight.chunk(4, dim=-1)
            return nn.Parameter(torch.cat([i, g, f, o], dim=-1).contiguous())

        self.kernel, self.recurrent_kernel = reorder(weight_ih.t()), reorder(weight_hh.t())
        self.bias = reorder(bias_ih + bias_hh)

    def forward(self, x, state=None):
        h, c = state or (x.new_zeros(1, x.shape[1], self.hidden_size),) * 2
        outputs = []
        for step in x:
            gates = step @ self.kernel + h[0] @ self.recurrent_kernel + self.bias
            i, g, f, o = gates.chunk(4, dim=-1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            outputs.append(h[0])
        return torch.stack(outputs), (h, c)


@pytest.mark.parametrize("case", [Case(3, 5, 2, 4, 6), Case(5, 5, 2, 1, 1)], ids=str)
def test_haste_by_a_stand_in_with_its_layout(monkeypatch, case):
    """The package itself needs a GPU; its layout and gate order are public."""
    stand_in = type("haste_pytorch", (), {"LSTM": HasteLayer})
    monkeypatch.setattr(peers, "import_module", lambda name: stand_in)
    monkeypatch.setattr(nn.Module, "cuda", lambda module: module)
    assert_right(case, peers.Haste, peers.Haste.gradients)


def test_a_peer_that_is_not_there_is_a_line(monkeypatch):
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    providers, lines = choose_providers("cpu", "float32")
    assert "onnxruntime" not in [p.name for p in providers]
    assert "onnxruntime: not measured, not installed: pip install onnxruntime onnx" in lines
    assert "haste: not measured, it runs on cuda" in lines


def test_against_chooses_and_a_wrong_name_is_an_error():
    providers, lines = choose_providers("cpu", "float32", ["LSTMCell loop"])
    names = [p.name for p in providers]
    assert names[0] == "nn.LSTM"
    assert "LSTMCell loop" in names
    assert "torch.compile" not in names
    assert [line for line in lines if not line.startswith("fastlstm")] == []
    with pytest.raises(ValueError, match=r"'torch\.compile', 'LSTMCell loop'.* got 'cudnn'"):
        choose_providers("cpu", "float32", ["cudnn"])


def test_the_backend_that_auto_takes_is_marked_and_made_by_auto():
    for dtype in ("float32", "float64"):
        ours = fastlstm_providers("cpu", dtype)
        case = Case(3, 4, 1, 2, 5, dtype=dtype)
        marked = [p.is_auto(case, "inference", "cpu") for p in ours]
        assert marked.count(True) == 1
        for provider, auto in zip(ours, marked, strict=True):
            module = provider.make(copy.deepcopy(case.make_lstm("cpu")))
            wanted = "auto" if auto else provider.name.removeprefix("fastlstm ")
            assert module.backend == wanted


def test_what_auto_takes_on_a_gpu_depends_on_the_case(monkeypatch):
    """The table says 2x for inference at one size, and nothing of others."""
    kind = Kind("bfloat16", False, False, False)
    monkeypatch.setattr(selection, "_architecture", lambda: 90)
    monkeypatch.setitem(MEASURED, 90, {kind: {(64, 8): 2.0}})
    ours = {p.backend: p for p in fastlstm_providers("cuda", "bfloat16")}
    case = Case(64, 64, 1, 8, 32, dtype="bfloat16")
    assert ours["triton"].is_auto(case, "inference", "cuda")
    assert not ours["aten"].is_auto(case, "inference", "cuda")
    for other, measure in (
        (case, "forward+backward"),
        (replace(case, B=9), "inference"),
        (replace(case, layers=2), "inference"),
    ):
        assert ours["aten"].is_auto(other, measure, "cuda")
