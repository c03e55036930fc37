"""Tracers, scripting, ONNX and counters find in ours what they find in nn.LSTM."""

import io

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils.flop_counter import FlopCounterMode

import fastlstm
from fastlstm.verify import make_ours

I, H = 5, 6
CONFIGS = {
    "plain": {},
    "stacked": {"num_layers": 2, "bidirectional": True, "batch_first": True},
    "no-bias": {"bias": False},
}
ignore = pytest.mark.filterwarnings("ignore")


class Model(nn.Module):
    """An LSTM, or one of ours, and a cell inside another module."""

    def __init__(self, package):
        super().__init__()
        self.lstm = package.LSTM(I, H, 2)
        self.cell = package.LSTMCell(H, H)

    def forward(self, x):
        y, (h, c) = self.lstm(x)
        return self.cell(y[-1], (h[-1], c[-1]))[0]


def models():
    ours, theirs = Model(fastlstm), Model(nn)
    ours.load_state_dict(theirs.state_dict())
    return ours.eval(), theirs.eval()


@ignore
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_jit_trace_takes_any_length_and_holds_torchs_operator(config):
    peer = nn.LSTM(I, H, **config).eval()
    ours = make_ours(peer).eval()
    traced = torch.jit.trace(ours, (torch.randn(7, 3, I),))
    assert "aten::lstm" in str(traced.inlined_graph)
    assert "fastlstm::" not in str(traced.inlined_graph)
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    for function in (traced, torch.jit.load(file)):
        for shape in ((2, 3, I), (12, 4, I)):
            x = torch.randn(shape)
            torch.testing.assert_close(function(x), peer(x))


@ignore
def test_jit_trace_of_a_parent_and_of_packed_sequences():
    ours, theirs = models()
    x = torch.randn(9, 2, I)
    torch.testing.assert_close(torch.jit.trace(ours, torch.randn(4, 2, I))(x), theirs(x))

    class Packed(nn.Module):
        def __init__(self, lstm):
            super().__init__()
            self.lstm = lstm

        def forward(self, x, lengths):
            y, _ = self.lstm(pack_padded_sequence(x, lengths, enforce_sorted=False))
            return pad_packed_sequence(y)[0]

    lengths = torch.tensor([2, 4])
    traced = torch.jit.trace(Packed(ours.lstm), (torch.randn(4, 2, I), lengths))
    longer = torch.tensor([9, 3])
    torch.testing.assert_close(traced(x, longer), Packed(theirs.lstm)(x, longer))


@ignore
def test_jit_script_compiles_torchs_own():
    ours, theirs = models()
    parameters = list(ours.parameters())
    scripted = torch.jit.script(ours)
    for steps in (3, 8):
        x = torch.randn(steps, 2, I)
        torch.testing.assert_close(scripted(x), theirs(x))
    # torch.jit.script leaves in the model what it has compiled
    assert isinstance(ours.lstm, nn.LSTM)
    assert all(p is q for p, q in zip(ours.parameters(), parameters, strict=True))
    fastlstm.convert(ours)
    assert type(ours.lstm) is fastlstm.LSTM


def test_fx_traces_a_parent_as_it_traces_torchs():
    ours, theirs = models()
    traced = torch.fx.symbolic_trace(ours)
    assert traced.code == torch.fx.symbolic_trace(theirs).code
    x = torch.randn(4, 2, I)
    torch.testing.assert_close(traced(x), ours(x))
    assert type(traced.lstm) is fastlstm.LSTM


def check_onnx(file, x, peer):
    import onnx
    import onnxruntime

    nodes = [node.op_type for node in onnx.load_model_from_string(file).graph.node]
    assert nodes.count("LSTM") == peer.num_layers
    session = onnxruntime.InferenceSession(file)
    (name,) = [given.name for given in session.get_inputs()]
    y, (h, c) = peer(x)
    for got, expected in zip(session.run(None, {name: x.numpy()}), (y, h, c), strict=True):
        np.testing.assert_allclose(got, expected.detach().numpy(), rtol=1e-4, atol=1e-5)


@ignore
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_onnx_by_tracing(config):
    peer = nn.LSTM(I, H, **config).eval()
    file = io.BytesIO()
    torch.onnx.export(
        make_ours(peer).eval(), (torch.randn(4, 3, I),), file, dynamo=False,
        input_names=["x"], output_names=["y", "h", "c"], dynamic_axes={"x": [0]},
    )  # fmt: skip
    for steps in (4, 9):
        check_onnx(file.getvalue(), torch.randn(steps, 3, I), peer)


def counted(module, x, needs_dx):
    x = x.detach().requires_grad_(needs_dx)
    with FlopCounterMode(display=False) as forward:
        output = module(x)[0]
    with FlopCounterMode(display=False) as backward:
        output.sum().backward()
    return forward.get_total_flops(), backward.get_total_flops()


@pytest.mark.parametrize("needs_dx", [True, False])
@pytest.mark.parametrize(
    "config", [{}, {"num_layers": 3, "bidirectional": True}, {"proj_size": 3}], ids=str
)
def test_flops_are_those_of_the_products(config, needs_dx):
    """As FlopCounterMode itself counts the reference, which is made of products alone."""
    ours, x = fastlstm.LSTM(I, H, **config), torch.randn(4, 3, I)
    forward, backward = counted(ours, x, needs_dx)
    ours.backend = "reference"
    expected, _ = counted(ours, x, needs_dx)
    assert forward == expected
    elements = sum(p.numel() for p in ours.parameters() if p.dim() == 2)
    first = sum(p.numel() for name, p in ours.named_parameters() if name.startswith("weight_ih_l0"))
    assert backward == 2 * 12 * (2 * elements - (0 if needs_dx else first))


@ignore
def test_gradients_of_single_samples():
    from torch.nn.utils._per_sample_grad import call_for_per_sample_grads

    for config in ({"batch_first": True}, {"num_layers": 2, "bidirectional": True}):
        ours = fastlstm.LSTM(I, H, **config)
        x = torch.randn(3, 4, I) if ours.batch_first else torch.randn(4, 3, I)
        call_for_per_sample_grads(ours, batch_size=3)(x)[0].square().sum().backward()
        samples = x.split(1, 0 if ours.batch_first else 1)
        for n, sample in enumerate(samples):
            alone = make_ours(ours)
            alone(sample)[0].square().sum().backward()
            for name, parameter in ours.named_parameters():
                expected = dict(alone.named_parameters())[name].grad
                torch.testing.assert_close(parameter.grad_sample[n], expected)
