"""A row map on the C++ kernels: x and y stay where they are, and nothing else shows it."""

from dataclasses import replace

import pytest
import torch
from accuracy import assert_as_accurate, expected
from mapped import LAYOUTS, call, gathered, leaves_of, mapped_quantities, packing

from fastlstm import functional
from fastlstm.verify import Case

CASES = [
    Case(1, 4, 3, 17),
    Case(4, 6, 1, 1, bias=False),
    Case(7, 3, 5, 33, bidirectional=True),
    Case(6, 5, 3, 37, layers=3, bidirectional=True, proj=17),
    Case(8, 19, 11, 37, layers=2, bidirectional=True, hx=False),
    Case(5, 4, 9, 130, layers=2, proj=17, bias=False),
]
# What threads divide among themselves: rows, units, directions, layers in wavefront, a lone step.
SPLIT = {
    "rows": Case(9, 33, 30, 60),
    "rows, projected": Case(5, 33, 30, 70, proj=33),
    "rows of several chunks": Case(200, 14, 20, 40),
    "units": Case(7, 5, 20, 200, layers=2),
    "units, projected": Case(6, 3, 70, 200, proj=130),
    "units forward, rows back": Case(4, 40, 200, 200),
    "directions and rows": Case(9, 33, 30, 70, bidirectional=True),
    "directions and units": Case(5, 3, 20, 200, bidirectional=True, layers=2),
    "wavefront": Case(60, 3, 24, 40, layers=3),
    "wavefront of several chunks": Case(700, 3, 5, 24, layers=3),
    "a step to decode": Case(1, 2, 200, 200, layers=2, bidirectional=True),
    "a step": Case(1, 33, 100, 100, layers=2, proj=30),
}


def ragged(case, dtype):
    return replace(case, ragged=True, dtype=dtype)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_accurate_as_nn_lstm_on_packed_sequences(isa, case, layout, dtype):
    case = ragged(case, dtype)
    oracle, peers = expected(case)
    got = mapped_quantities(case, layout)
    assert list(got) == list(oracle)
    for name, tensor in got.items():
        assert_as_accurate(f"{case}: {name}", tensor, oracle[name], peers[name])


@pytest.mark.parametrize("split", SPLIT)
def test_bitwise_as_packed_on_any_number_of_threads(isa, dtype, split, set_threads):
    case = ragged(SPLIT[split], dtype)
    alone = mapped_quantities(case, "packed")
    for threads, layout in ((1, "holes"), (2, "holes"), (2, "batch first"), (3, "time first")):
        set_threads(threads)
        for name, tensor in mapped_quantities(case, layout).items():
            assert torch.equal(tensor, alone[name]), f"{threads} threads, {layout}: {name}"


@pytest.mark.parametrize("precision", ["bf16", "int8"])
@pytest.mark.parametrize("split", SPLIT)
def test_weights_in_fewer_bits(isa, split, precision, set_threads):
    case = ragged(SPLIT[split], "float32")
    with torch.no_grad():
        packed = call(case, "packed", leaves_of(case, "packed"), precision=precision)
        exact = call(case, "packed", leaves_of(case, "packed"))
        for threads, layout in ((1, "holes"), (2, "batch first")):
            set_threads(threads)
            y, *states = call(case, layout, leaves_of(case, layout), precision=precision)
            y = gathered(y, packing(case, layout))
            torch.testing.assert_close((y, *states), packed, rtol=0, atol=0)
    assert 0 < (packed[0] - exact[0]).abs().max() < 0.02


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_element_is_written(isa, threads, case, dtype, poison):
    """Memory that is allocated is full of NaN: what is left alone, or read before, would show."""
    case = ragged(case, dtype)
    exact = mapped_quantities(case, "packed")
    poisoned = poison()
    for name, tensor in mapped_quantities(case, "holes").items():
        assert torch.equal(tensor, exact[name]), name
    assert poisoned


@pytest.mark.parametrize("needs", ["input", "h_0", "weight_hh_l0", "weight_hh_l1", "weight_hh_l2"])
def test_some_gradients(needs, dtype):
    """Layers below the first that needs a gradient save nothing, and hand on mapped rows."""
    case = ragged(Case(9, 5, 4, 20, layers=3, bidirectional=True), dtype)
    found = []
    for layout in ("packed", "holes"):
        leaves = leaves_of(case, layout)
        for name, leaf in leaves.items():
            leaf.requires_grad_(name == needs)
        y, h_n, c_n = call(case, layout, leaves)
        (grad,) = torch.autograd.grad((y.square().sum(), h_n.sum(), c_n.sum()), leaves[needs])
        found.append(gathered(grad, packing(case, layout)) if needs == "input" else grad)
    torch.testing.assert_close(*found, rtol=0, atol=1e-5 if dtype == "float32" else 1e-2)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_buffer_that_lies_apart(isa, case):
    """Columns of a wider buffer, and gradients that one sum expands."""
    case = ragged(case, "float32")
    how, leaves = packing(case, "holes"), leaves_of(case, "holes")
    expected = call(case, "holes", leaves)
    wide = torch.full((how.room, case.I + 3), float("nan"))
    wide[:, 1 : case.I + 1] = leaves["input"].detach()
    view = {**leaves, "input": wide[:, 1 : case.I + 1].requires_grad_()}
    got = call(case, "holes", view)
    torch.testing.assert_close(got, expected, rtol=0, atol=0)
    dx, other = (
        torch.autograd.grad(sum(out.sum() for out in outputs), inputs["input"])[0]
        for outputs, inputs in ((got, view), (expected, leaves))
    )
    torch.testing.assert_close(dx, other, rtol=0, atol=0)


@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no-grad"])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("backend", ["cpu", "aten", "reference"])
def test_no_rows_at_all(backend, directions, grad):
    """Sequences that are all empty: y is zero, and so is what its gradient brings."""
    weights = [(28, 3), (28, 7), (28,), (28,)] * directions
    weights = [torch.randn(shape, requires_grad=grad) for shape in weights]
    x, state = torch.full((6, 3), float("nan"), requires_grad=grad), torch.zeros(directions, 0, 7)
    sizes, rows = torch.tensor([0]), torch.empty(0, dtype=torch.int64)
    y, h_n, c_n = functional.lstm(x, state, state, weights, sizes, rows, backend=backend)
    assert torch.equal(y, torch.zeros(6, 7 * directions))
    assert h_n.shape == c_n.shape == (directions, 0, 7)
    if grad:
        for tensor in torch.autograd.grad(y.sum(), (x, *weights)):
            assert not tensor.any()
