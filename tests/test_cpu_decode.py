"""A step of few sequences without autograd: a path of its own in the C++ kernels."""

import copy
from dataclasses import replace

import pytest
import torch
from accuracy import assert_as_accurate, expected

from fastlstm import functional
from fastlstm.verify import Case, make_inputs, make_ours, make_peer, quantities

ODD = [(1, 1), (1, 3), (2, 5), (7, 15), (15, 7), (16, 16), (17, 33), (33, 17), (131, 47), (67, 65)]


def step(ours, inputs):
    """Results by name, with or without autograd, as it is."""
    output, (h_n, c_n) = ours(inputs["input"], (inputs["h_0"], inputs["c_0"]))
    return {"output": output.detach(), "h_n": h_n.detach(), "c_n": c_n.detach()}


def assert_step(case):
    """A step without autograd is as accurate as nn.LSTM's."""
    oracle, peers = expected(case)
    with torch.no_grad():
        got = step(make_ours(make_peer(case), "cpu"), make_inputs(case))
    for name, tensor in got.items():
        key = f"{name} without grad"
        assert_as_accurate(f"{case}: {name}", tensor, oracle[key], peers[key])


@pytest.mark.parametrize("B", range(1, 6))
@pytest.mark.parametrize(("I", "H"), ODD, ids=[f"I{I}-H{H}" for I, H in ODD])
def test_as_accurate_as_nn_lstm(isa, dtype, B, I, H):
    assert_step(Case(1, B, I, H, layers=2, bidirectional=True, dtype=dtype))


@pytest.mark.parametrize("case", [Case(1, 3, 13, 37, bias=False), Case(1, 2, 200, 201)], ids=str)
def test_on_threads_and_without_biases(isa, threads, dtype, case):
    assert_step(replace(case, dtype=dtype))


@pytest.mark.parametrize("B", range(1, 6))
@pytest.mark.parametrize(("I", "H"), [(5, 3), (19, 37), (63, 129)], ids=["small", "odd", "long"])
def test_as_with_autograd(isa, dtype, B, I, H):
    """Which packs the weights: the same but for the order of sums, hence the last bits."""
    case = Case(1, B, I, H, layers=2, bidirectional=True, dtype=dtype)
    ours, inputs = make_ours(make_peer(case), "cpu"), make_inputs(case)
    with torch.no_grad():
        got = step(ours, inputs)
    eps = torch.finfo(inputs["input"].dtype).eps
    for name, tensor in step(ours, inputs).items():
        torch.testing.assert_close(got[name], tensor, rtol=eps, atol=8 * eps)


def test_step_by_step_as_the_whole_sequence(isa, dtype):
    """States handed from step to step, as in generation, drift no further than nn.LSTM's."""
    case = Case(40, 3, 9, 21, layers=2, dtype=dtype)
    peer, inputs = make_peer(case), make_inputs(case)
    results = []
    for module in (make_ours(peer, "cpu"), copy.deepcopy(peer).double(), peer):
        like = next(module.parameters())
        state = inputs["h_0"].to(like), inputs["c_0"].to(like)
        outputs = []
        with torch.no_grad():
            for x in inputs["input"].to(like).split(1):
                output, state = module(x, state)
                outputs.append(output)
        results.append(torch.cat(outputs))
    assert_as_accurate("output", *results)


def test_new_weights_count_at_once(isa, dtype):
    """Whatever is kept of weights between calls of inference, a change of any element shows."""
    case = Case(2, 3, 9, 21, dtype=dtype)
    ours, inputs = make_ours(make_peer(case), "cpu"), make_inputs(case)
    for parameter in ours.parameters():
        elements = parameter.data.view(-1)
        for index in range(0, elements.numel(), 97):
            with torch.no_grad():
                before = [step(ours, inputs)["c_n"] for _ in range(3)][-1]
                elements[index] += 1
                after = step(ours, inputs)["c_n"]
            assert not torch.equal(after, before), index
            assert torch.equal(after, quantities(ours, case, inputs)["c_n"]), index


def test_the_same_memory_as_weights_of_other_sizes(isa):
    """Same addresses, bytes and contents: the sizes alone tell these layers apart."""
    memory = [torch.randn(n) for n in (72, 48, 12)]
    with torch.no_grad():
        for H, P, I in ((6, 2, 3), (3, 4, 6), (6, 2, 3)):
            shapes = (4 * H, I), (4 * H, P), (P, H)
            weights = [m.view(shape) for m, shape in zip(memory, shapes, strict=True)]
            args = torch.randn(3, 5, I), torch.randn(1, 5, P), torch.randn(1, 5, H), weights
            expected = functional.lstm(*args, backend="reference")
            for _ in range(3):
                torch.testing.assert_close(functional.lstm(*args, backend="cpu"), expected)


@pytest.mark.parametrize("bad", ["nan", "inf"])
@pytest.mark.parametrize("B", [2, 4])
def test_rows_are_independent(isa, dtype, B, bad):
    case = Case(1, B, 7, 37, bidirectional=True, dtype=dtype)
    ours, inputs = make_ours(make_peer(case), "cpu"), make_inputs(case)
    with torch.no_grad():
        alone = step(ours, inputs)
        for tensor in inputs.values():
            tensor[:, 1] = float(bad)
        results = step(ours, inputs)
    others = [b for b in range(B) if b != 1]
    assert results["output"][:, 1].isnan().any()
    for name, tensor in results.items():
        assert torch.equal(tensor[:, others], alone[name][:, others]), name
