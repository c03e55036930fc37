"""CUDA graphs of the steps. Here, without CUDA, a replay is the captured call, made once more."""

import pytest
import torch
from accuracy import assert_case

from fastlstm.backends.triton import graphs
from fastlstm.verify import Case, make_inputs, make_ours, make_peer, quantities


class Stream:
    cuda_stream = 1


@pytest.fixture
def captured(monkeypatch):
    """The functions that were captured, in order; each is called with the graph's own tensors."""
    found = []

    def capture(function, device):
        found.append(function)
        return function

    graphs._graphs.clear()
    monkeypatch.setattr(graphs, "capture", capture)
    monkeypatch.setattr(graphs, "usable", lambda device: True)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream)
    yield found
    graphs._graphs.clear()


def double(x, y):
    y.copy_(2 * x)


def call(x, key="double"):
    y = torch.full_like(x, torch.nan)
    graphs.run(double, key, (x,), (y,))
    return y


def test_the_second_call_is_captured_and_later_ones_replay_it(captured):
    for n in range(4):
        x = torch.full((3,), float(n))
        assert torch.equal(call(x), 2 * x)
        assert len(captured) == (n > 0)


@pytest.mark.parametrize(
    "other",
    [torch.ones(4), torch.ones(3, 1), torch.ones(3, dtype=torch.float64)],
    ids=["longer", "shape", "dtype"],
)
def test_a_graph_is_of_one_form_of_tensors(captured, other):
    for x in (torch.ones(3), torch.ones(3), other):
        assert torch.equal(call(x), 2 * x)
    assert len(captured) == 1
    call(other)
    assert len(captured) == 2


def test_a_graph_is_of_one_key_and_one_stream(captured, monkeypatch):
    x = torch.ones(3)
    for key in ("a", "b", "a", "b"):
        call(x, key)
    assert len(captured) == 2
    monkeypatch.setattr(Stream, "cuda_stream", 2)
    call(x, "a")
    assert len(captured) == 2
    call(x, "a")
    assert len(captured) == 3


def test_those_not_used_for_longest_go(captured):
    x = torch.ones(3)
    for key in range(graphs.MOST + 1):
        call(x, key)
        call(x, key)
    assert len(graphs._graphs) == graphs.MOST
    call(x, 1)
    assert len(captured) == graphs.MOST + 1
    call(x, 0)
    call(x, 0)
    assert len(captured) == graphs.MOST + 2


def test_large_tensors_have_no_graph(captured, monkeypatch):
    monkeypatch.setattr(graphs, "MOST_BYTES", 7)
    for _ in range(3):
        assert torch.equal(call(torch.ones(1)), torch.full((1,), 2.0))
    assert not captured


@pytest.mark.parametrize(
    "case",
    [Case(4, 3, 5, 19, bidirectional=True), Case(6, 5, 4, 16, ragged=True, layers=2)],
    ids=str,
)
def test_steps_as_graphs(captured, case):
    """The same bits from the first call, which captures nothing, and from all others."""
    ours, inputs = make_ours(make_peer(case), "triton"), make_inputs(case)
    first = quantities(ours, case, inputs)
    for _ in range(2):
        later = quantities(ours, case, inputs)
        assert all(torch.equal(later[name], tensor) for name, tensor in first.items())
    assert captured
    assert_case(case, "triton")


def test_a_graph_follows_changed_weights_and_inputs(captured):
    case = Case(4, 3, 5, 19)
    ours, inputs = make_ours(make_peer(case), "triton"), make_inputs(case)
    for _ in range(2):
        quantities(ours, case, inputs)
    with torch.no_grad():
        for weight in ours.parameters():
            weight *= 0.5
    inputs = {name: tensor.flip(0) for name, tensor in inputs.items()}
    got = quantities(ours, case, inputs)
    graphs._graphs.clear()
    for name, tensor in quantities(ours, case, inputs).items():
        assert torch.equal(got[name], tensor), name
