"""ONNX export by torch.export (dynamo=True): nodes of ONNX's LSTM, for any number of steps."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from fastlstm.verify import make_ours

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.filterwarnings("ignore")

B, I, H = 3, 5, 6
CONFIGS = {
    "plain": {},
    "stacked": {"num_layers": 2, "bidirectional": True},
    "batch-first": {"batch_first": True, "num_layers": 2},
    "no-bias": {"bias": False, "bidirectional": True},
}
each_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
Dim = torch.export.Dim


class Caller(nn.Module):
    """An LSTM whose arguments are all tensors, as a graph has them."""

    def __init__(self, lstm, *names):
        super().__init__()
        self.lstm, self.names = lstm, names

    def forward(self, x, *others):
        given = dict(zip(self.names, others, strict=True))
        if "h" in given:
            given["hx"] = given.pop("h"), given.pop("c")
        return self.lstm(x, **given)


def exported(module, inputs, shapes):
    """A function that runs the graph, and the graph's operators; `shapes`: of each input."""
    if shapes and shapes[1:]:  # Caller has one x, and `*others` as one argument
        shapes = shapes[0], shapes[1:]
    program = torch.onnx.export(
        module, tuple(inputs), dynamo=True, verbose=False, dynamic_shapes=shapes
    )
    model = program.model_proto
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString())

    def run(*inputs):
        names = [given.name for given in session.get_inputs()]
        given = {name: t.numpy() for name, t in zip(names, inputs, strict=True)}
        return [torch.from_numpy(np.array(t)) for t in session.run(None, given)]

    return run, [node.op_type for node in model.graph.node]


def padded(module, steps, batch):
    shape = (batch, steps, I) if module.batch_first else (steps, batch, I)
    return torch.randn(shape)


def sizes(module):
    """That T and B are free, for x."""
    steps, batch = Dim("steps"), Dim("batch")
    return {0: batch, 1: steps} if module.batch_first else {0: steps, 1: batch}


def assert_same(got, expected):
    y, state = expected
    for one, other in zip(got, (y, *state), strict=True):
        torch.testing.assert_close(one, other.detach())


@each_config
@pytest.mark.parametrize("with_hx", [False, True], ids=["", "hx"])
def test_any_steps_and_batch(config, with_hx):
    peer = nn.LSTM(I, H, **config).eval()
    rows = peer.num_layers * (1 + peer.bidirectional)

    def inputs(steps, batch):
        x = padded(peer, steps, batch)
        states = [torch.randn(rows, batch, H) for _ in range(2 * with_hx)]
        return x, *states

    model = Caller(make_ours(peer).eval(), *("h", "c") * with_hx)
    others = ({1: Dim("batch")},) * 2 if with_hx else ()
    run, nodes = exported(model, inputs(4, B), (sizes(peer), *others))
    assert nodes.count("LSTM") == peer.num_layers
    assert not {"Loop", "Scan"} & set(nodes)
    for steps, batch in ((4, B), (9, 2), (1, 1)):
        x, *hx = inputs(steps, batch)
        assert_same(run(x, *hx), peer(x, tuple(hx) or None))


@each_config
def test_lengths_are_those_of_the_node(config):
    peer = nn.LSTM(I, H, **config).eval()
    ours = make_ours(peer).eval()
    model, lengths = Caller(ours, "lengths"), torch.tensor([2, 4, 1])
    shapes = sizes(peer), {0: Dim("batch")}
    run, nodes = exported(model, (padded(peer, 4, B), lengths), shapes)
    assert nodes.count("LSTM") == peer.num_layers
    x, lengths = padded(peer, 9, 4), torch.tensor([3, 9, 1, 7])
    given = pack_padded_sequence(x, lengths, peer.batch_first, enforce_sorted=False)
    y, state = peer(given)
    y = pad_packed_sequence(y, peer.batch_first, total_length=9)[0]
    assert_same(run(x, lengths), (y, state))
    lengths = torch.tensor([0, 9, 0, 2])
    assert_same(run(x, lengths), ours(x, lengths=lengths))


def test_an_item_without_steps_keeps_its_state():
    ours = make_ours(nn.LSTM(I, H, 2)).eval()
    x, hx = torch.randn(4, B, I), torch.randn(2, 2, B, H)
    lengths = torch.tensor([0, 4, 2])
    run, _ = exported(Caller(ours, "h", "c", "lengths"), (x, *hx, lengths), None)
    assert_same(run(x, *hx, lengths), ours(x, tuple(hx), lengths=lengths))


def test_unbatched():
    peer = nn.LSTM(I, H).eval()
    run, nodes = exported(Caller(make_ours(peer).eval()), (torch.randn(4, I),), ({0: Dim("t")},))
    assert "LSTM" in nodes
    x = torch.randn(7, I)
    assert_same(run(x), peer(x))


def test_training_with_dropout_is_a_dropout_between_nodes():
    ours = make_ours(nn.LSTM(I, H, 3, dropout=0.5))
    for training, count in ((True, 2), (False, 0)):
        program = torch.onnx.export(
            ours.train(training),
            (torch.randn(4, B, I),),
            dynamo=True,
            verbose=False,
            optimize=False,
        )
        nodes = [node.op_type for node in program.model_proto.graph.node]
        assert nodes.count("LSTM") == 3
        assert nodes.count("Dropout") == count


def test_resets_have_no_node():
    """And are not left out."""
    model = Caller(make_ours(nn.LSTM(I, H)).eval(), "resets")
    with pytest.raises(torch.onnx.OnnxExporterError):
        exported(model, (torch.randn(4, B, I), torch.zeros(4, B) > 0), None)
