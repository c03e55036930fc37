"""A hidden size per layer under compilers, transforms and tracers."""

import io

import numpy as np
import pytest
import torch
from stacked import LENGTHS, SIZES, B, I, T, make_input, make_states, named_parameters, pair
from torch import nn
from torch.func import functional_call
from torch.nn.utils._per_sample_grad import call_for_per_sample_grads
from torch.utils.flop_counter import FlopCounterMode

import fastlstm

ignore = pytest.mark.filterwarnings("ignore")
each_config = pytest.mark.parametrize(
    "config", [{}, {"bidirectional": True, "batch_first": True}, {"proj_size": 4}], ids=str
)


@pytest.fixture(autouse=True)
def fresh_dynamo():
    torch._dynamo.reset()


@pytest.mark.parametrize("hx", [True, False], ids=["hx", "no-hx"])
@each_config
def test_fullgraph(config, hx):
    ours = fastlstm.LSTM(I, SIZES, **config)
    given = make_states(ours, (B,)) if hx else None
    compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
    x, outputs = make_input(ours), []
    for call in (compiled, ours):
        leaf = x.clone().requires_grad_()
        y, (h_n, c_n) = call(leaf, given)
        loss = y.square().sum() + sum(s.sin().sum() for s in (*h_n, *c_n))
        leaves = [leaf, *ours.parameters()]
        outputs.append([y, h_n, c_n, torch.autograd.grad(loss, leaves)])
    torch.testing.assert_close(*outputs)


def test_fullgraph_by_inductor_with_dropout():
    ours, x = fastlstm.LSTM(I, SIZES, dropout=0.5), torch.randn(T, B, I)
    compiled = torch.compile(ours, fullgraph=True)
    assert not torch.equal(compiled(x)[0], compiled(x)[0])
    ours.eval()
    torch.testing.assert_close(compiled(x), ours(x))


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "non-strict"])
@each_config
def test_export_with_any_length(config, strict):
    ours = fastlstm.LSTM(I, SIZES, **config).eval()
    shapes = {"input": {1 if ours.batch_first else 0: torch.export.Dim("steps", min=2)}}
    with torch.no_grad():
        program = torch.export.export(
            ours, (make_input(ours),), strict=strict, dynamic_shapes=shapes
        )
        assert [name for name, _ in program.named_parameters()] == list(ours.state_dict())
        x = make_input(ours).repeat((1, 2, 1) if ours.batch_first else (2, 1, 1))
        torch.testing.assert_close(program.module()(x), ours(x))


def test_vmap_over_inputs_states_and_weights():
    members, x = [fastlstm.LSTM(I, SIZES) for _ in range(3)], torch.randn(T, B, I)
    weights, _ = torch.func.stack_module_state(members)
    states = [make_states(members[0], (B,)) for _ in members]
    stacked = torch.utils._pytree.tree_map(lambda *s: torch.stack(s), *states)
    got = torch.func.vmap(lambda w, hx: functional_call(members[0], w, (x, hx))[0])(
        weights, stacked
    )
    for n, (member, hx) in enumerate(zip(members, states, strict=True)):
        torch.testing.assert_close(got[n], member(x, hx)[0])
    xs = torch.randn(2, T, B, I)
    got = torch.func.vmap(lambda x: members[0](x)[1][1])(xs)
    torch.testing.assert_close([c[1] for c in got], list(members[0](xs[1])[1][1]))


def test_gradients_of_gradients():
    ours, peer = pair(SIZES[1:], dtype=torch.float64)
    gradients = []
    for module in (ours, peer):
        x = torch.linspace(-1, 1, T * B * I, dtype=torch.float64).view(T, B, I).requires_grad_()
        y, (_, c_n) = module(x)
        loss = y.square().sum() + c_n[0].sum()
        (dx,) = torch.autograd.grad(loss, x, create_graph=True)
        leaves = [x, *named_parameters(module).values()]
        gradients.append(torch.autograd.grad(dx.square().sum() + loss, leaves))
    torch.testing.assert_close(*gradients)
    names = list(named_parameters(ours))

    def function(x, *weights):
        y, states = functional_call(ours, dict(zip(names, weights, strict=True)), (x,))
        return y, *states[0], *states[1]

    point = [torch.randn(2, 1, I, dtype=torch.float64), *ours.parameters()]
    point = [p.detach().requires_grad_() for p in point]
    assert torch.autograd.gradcheck(function, point, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, point, fast_mode=True)


def test_forward_ad():
    ours, peer = pair()
    x, tangent = torch.randn(T, B, I), torch.randn(T, B, I)
    _, got = torch.func.jvp(lambda x: ours(x)[0], (x,), (tangent,))
    peer = peer.double()
    _, expected = torch.func.jvp(lambda x: peer(x)[0], (x.double(),), (tangent.double(),))
    torch.testing.assert_close(got, expected.float())


@ignore
def test_gradients_of_single_samples():
    ours, x = fastlstm.LSTM(I, SIZES, batch_first=True), torch.randn(3, 4, I)
    call_for_per_sample_grads(ours, batch_size=3)(x)[0].square().sum().backward()
    for n in range(3):
        loss = ours(x[n : n + 1])[0].square().sum()
        for p, expected in zip(
            ours.parameters(), torch.autograd.grad(loss, list(ours.parameters())), strict=True
        ):
            torch.testing.assert_close(p.grad_sample[n], expected)


@ignore
@each_config
def test_jit_trace_holds_an_operator_of_torch_for_each_layer(config):
    ours, peer = pair(**config)
    traced = torch.jit.trace(ours.eval(), (make_input(ours),))
    assert str(traced.inlined_graph).count("aten::lstm") == len(SIZES)
    assert "fastlstm::" not in str(traced.inlined_graph)
    x = make_input(ours).repeat((1, 2, 1) if ours.batch_first else (2, 1, 1))
    torch.testing.assert_close(traced(x), peer(x))


def check_onnx(file, x, peer):
    import onnx
    import onnxruntime

    nodes = [node.op_type for node in onnx.load_model_from_string(file).graph.node]
    assert nodes.count("LSTM") == len(SIZES)
    session = onnxruntime.InferenceSession(file)
    (name,) = [given.name for given in session.get_inputs()]
    y, (h, c) = peer(x)
    for got, expected in zip(session.run(None, {name: x.numpy()}), (y, *h, *c), strict=True):
        np.testing.assert_allclose(got, expected.detach().numpy(), rtol=1e-4, atol=1e-5)


@ignore
@pytest.mark.parametrize("config", [{}, {"bidirectional": True}], ids=str)
def test_onnx(config):
    pytest.importorskip("onnxscript")
    ours, peer = pair(**config)
    ours.eval()
    file, x = io.BytesIO(), torch.randn(T, B, I)
    torch.onnx.export(ours, (x,), file, dynamo=False, input_names=["x"], dynamic_axes={"x": [0]})
    check_onnx(file.getvalue(), torch.randn(9, B, I), peer)
    program = torch.onnx.export(ours, (x,), dynamo=True, verbose=False)
    check_onnx(program.model_proto.SerializeToString(), x, peer)


def test_fx_takes_it_for_one_node():
    model = nn.Sequential(fastlstm.LSTM(I, SIZES))
    traced = torch.fx.symbolic_trace(model)
    assert [node.op for node in traced.graph.nodes] == ["placeholder", "call_module", "output"]
    x = torch.randn(T, B, I)
    torch.testing.assert_close(traced(x), model(x))


def test_flops_are_those_of_the_layers():
    ours, x = fastlstm.LSTM(I, SIZES), torch.randn(T, B, I)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        ours(x)
    elements = sum(p.numel() for p in ours.parameters() if p.dim() == 2)
    assert counter.get_total_flops() == 2 * T * B * elements


def test_lengths_break_the_graph_as_of_one_size():
    ours, x = fastlstm.LSTM(I, SIZES), torch.randn(T, B, I)
    compiled = torch.compile(ours, backend="aot_eager")
    torch.testing.assert_close(compiled(x, lengths=LENGTHS), ours(x, lengths=LENGTHS))
