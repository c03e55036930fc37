"""The C++ kernels, every ISA variant on one, two and three threads."""

import pytest
import torch
from accuracy import assert_case

from fastlstm.backends import cpu
from fastlstm.verify import Case, make_inputs, make_ours, make_peer, quantities

CASES = [
    Case(1, 1, 1, 1),
    Case(3, 2, 1, 1, bidirectional=True),
    Case(7, 3, 5, 33),
    Case(2, 1, 7, 16),
    Case(6, 1, 3, 67, bidirectional=True),
    Case(5, 13, 11, 15, layers=2, bias=False),
    Case(4, 6, 2, 48, bidirectional=True, hx=False),
    Case(3, 37, 3, 31, hx=False),
    Case(9, 7, 5, 29, ragged=True),
    Case(11, 10, 4, 19, layers=2, bidirectional=True, ragged=True),
    Case(4, 150, 3, 17, bidirectional=True, ragged=True),
    Case(3, 20, 8, 200),
    Case(3, 2, 8, 263, bidirectional=True),
]
# Two layers so that one layer's output feeds a kernel, both directions, sequences that end early.
HARD = Case(6, 5, 3, 37, layers=2, bidirectional=True, ragged=True)


@pytest.fixture(params=cpu.isas())
def isa(request):
    with cpu.use_isa(request.param):
        yield request.param


@pytest.fixture(params=[1, 2, 3], ids=lambda n: f"threads{n}")
def threads(request, set_threads):
    set_threads(request.param)
    return request.param


@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_accurate_as_nn_lstm(isa, threads, case):
    assert cpu.isa() == isa
    assert_case(case, "cpu")


@pytest.mark.parametrize("case", [HARD, Case(5, 3, 4, 130), Case(1, 1, 1, 1)], ids=str)
def test_every_element_is_written(isa, threads, case, monkeypatch):
    """The memory that the backend allocates is full of NaN: an element left alone would show."""
    poisoned = []

    def poison(allocate):
        def allocate_poisoned(*args, **kwargs):
            tensor = allocate(*args, **kwargs)
            if tensor.is_floating_point():
                poisoned.append(tensor.fill_(float("nan")).shape)
            return tensor

        return allocate_poisoned

    for owner, name in ((torch, "empty"), (torch, "empty_like"), (torch.Tensor, "new_empty")):
        monkeypatch.setattr(owner, name, poison(getattr(owner, name)))
    assert_case(case, "cpu")
    assert poisoned


@pytest.mark.parametrize("case", [HARD, Case(4, 20, 3, 64)], ids=str)
def test_bitwise_the_same_from_run_to_run(isa, threads, case):
    ours, inputs = make_ours(make_peer(case), "cpu"), make_inputs(case)
    first = quantities(ours, case, inputs)
    for _ in range(5):
        for name, tensor in quantities(ours, case, inputs).items():
            assert torch.equal(tensor, first[name]), name


def test_arguments_are_only_read(isa, threads):
    ours, inputs = make_ours(make_peer(HARD), "cpu"), make_inputs(HARD)
    before = {name: tensor.clone() for name, tensor in inputs.items()}
    weights = {name: parameter.detach().clone() for name, parameter in ours.named_parameters()}
    quantities(ours, HARD, inputs)
    for name, tensor in before.items():
        assert torch.equal(inputs[name], tensor), name
    for name, parameter in ours.named_parameters():
        assert torch.equal(parameter, weights[name]), name


def misaligned(tensor):
    """The same values at an address that no vector load is aligned to."""
    storage = torch.empty(tensor.numel() + 1)
    return storage[1:].view(tensor.shape).copy_(tensor)


@pytest.mark.parametrize("case", [HARD, Case(5, 3, 16, 32)], ids=str)
def test_unaligned_memory(isa, threads, case):
    ours, inputs = make_ours(make_peer(case), "cpu"), make_inputs(case)
    expected = quantities(ours, case, inputs)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.data = misaligned(parameter.data)
    moved = {name: misaligned(tensor) for name, tensor in inputs.items()}
    assert all(tensor.data_ptr() % 16 for tensor in moved.values())
    for name, tensor in quantities(ours, case, moved).items():
        torch.testing.assert_close(tensor, expected[name], msg=name)


def test_long_sequences_do_not_drift(isa):
    assert_case(Case(500, 1, 3, 20), "cpu")


def test_rows_are_independent(isa, threads):
    """A sequence gives the same result whatever stands beside it in the batch, NaN too."""
    case = Case(6, 9, 4, 23)
    ours, inputs = make_ours(make_peer(case), "cpu"), make_inputs(case)
    x, states = inputs["input"], (inputs["h_0"], inputs["c_0"])
    expected = ours(x, states)[0]
    for row in range(case.B):
        others = [b for b in range(case.B) if b != row]
        spoilt = x.clone()
        spoilt[:, row] = float("nan")
        output = ours(spoilt, states)[0]
        assert output[:, row].isnan().all()
        torch.testing.assert_close(output[:, others], expected[:, others])


def test_reverse_direction_is_the_forward_one_on_reversed_input(isa, threads):
    case = Case(8, 4, 5, 21, bidirectional=True)
    both = make_ours(make_peer(case), "cpu")
    one = make_ours(make_peer(Case(8, 4, 5, 21)), "cpu")
    reverse = {k: v for k, v in both.state_dict().items() if k.endswith("_reverse")}
    one.load_state_dict({name.removesuffix("_reverse"): w for name, w in reverse.items()})
    x = make_inputs(case)["input"]
    output, (h_n, _) = both(x)
    expected, (h_expected, _) = one(x.flip(0))
    torch.testing.assert_close(output[..., 21:], expected.flip(0))
    torch.testing.assert_close(h_n[1], h_expected[0])
