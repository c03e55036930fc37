"""The C++ kernels, every ISA variant in both dtypes: as accurate as nn.LSTM."""

from dataclasses import replace

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
    Case(1, 1, 1, 3, proj=1),
    Case(7, 3, 5, 33, proj=16, bias=False),
    Case(6, 1, 3, 67, bidirectional=True, proj=66),
    Case(9, 7, 5, 29, layers=2, ragged=True, proj=7),
    Case(4, 37, 6, 70, bidirectional=True, ragged=True, proj=33),
    Case(3, 3, 9, 263, proj=130, hx=False),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_accurate_as_nn_lstm(isa, case, dtype):
    """On one thread: test_cpu_threads.py holds any number of them to the same bits."""
    assert cpu.isa() == isa
    assert_case(replace(case, dtype=dtype), "cpu")


# Forward multiplies the input of some 384 rows at a time, backward goes back in chunks of some 256
# rows, in bfloat16 of 512: many steps, a few, less than one.
LONG = [
    Case(700, 1, 3, 20),
    Case(40, 9, 5, 19),
    Case(300, 3, 33, 20, bidirectional=True),
    Case(60, 17, 5, 23, bidirectional=True, ragged=True),
    Case(90, 13, 4, 40, proj=9),
    Case(1, 513, 7, 19),
    Case(2, 530, 5, 21, ragged=True),
    Case(3, 1100, 3, 17, bidirectional=True),
    Case(3, 521, 3, 34, bidirectional=True, proj=17),
]


@pytest.mark.parametrize("case", LONG, ids=str)
def test_several_chunks(isa, case, dtype):
    assert_case(replace(case, dtype=dtype), "cpu")


def sweep(**sizes):
    """A small case for each size of one dimension, all else odd."""
    base = Case(3, 5, 7, 37)
    ((name, values),) = sizes.items()
    return [replace(base, **{name: value}) for value in values]


TAILS = [
    *sweep(H=range(1, 71)),
    *sweep(I=[1, 2, 3, 15, 16, 17, 31, 32, 33, 64, 65, 127, 513, 1001]),
    *sweep(B=range(1, 20)),
    *(replace(Case(3, 5, 7, 70), proj=P) for P in (1, 2, 3, 15, 16, 17, 31, 33, 63, 64, 65, 69)),
]


@pytest.mark.parametrize("case", TAILS, ids=str)
def test_every_tail_of_a_vector_and_of_a_tile(isa, case, dtype):
    # Among thousands of largest errors of few elements each, some of nn.LSTM's are small by luck.
    assert_case(replace(case, dtype=dtype), "cpu", slack=4.0)


@pytest.mark.parametrize("proj", [0, 3])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "bi"])
def test_no_sequences(isa, dtype, proj, bidirectional):
    """Nothing but zeros for the weights, which must be written."""
    case = Case(4, 0, 5, 19, bidirectional=bidirectional, proj=proj, dtype=dtype)
    ours, inputs = make_ours(make_peer(case), "cpu"), make_inputs(case)
    for parameter in ours.parameters():
        parameter.grad = torch.full_like(parameter, 7)
    results = quantities(ours, case, inputs)
    peers = quantities(make_peer(case), case, inputs)
    for name, tensor in results.items():
        assert tensor.shape == peers[name].shape, name
        assert tensor.dtype == peers[name].dtype, name
        assert not tensor.any(), name


def closest(dtype):
    """Relative error of rounding to the nearest."""
    return torch.finfo(dtype).eps / 2


@pytest.mark.parametrize("save", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("case", [Case(1, B, 37, 41) for B in (1, 3, 9)], ids=str)
def test_a_step_in_bfloat16_is_that_in_float32_rounded_once(isa, case, save):
    """Sums, the pointwise part and c are float32: the results are the nearest bfloat16."""
    peer, inputs = make_peer(replace(case, dtype="bfloat16")), make_inputs(case)
    x, h_0, c_0 = (inputs[name].bfloat16() for name in ("input", "h_0", "c_0"))
    narrow = make_ours(peer, "cpu")
    wide = make_ours(peer.float(), "cpu")
    with torch.set_grad_enabled(save):
        output, (_, c_n) = narrow(x, (h_0, c_0))
        expected, (_, c_expected) = wide(x.float(), (h_0.float(), c_0.float()))
    for got, exact in ((output, expected), (c_n, c_expected)):
        # A part in a thousand more: sums may be taken in another order.
        torch.testing.assert_close(
            got.float(), exact, rtol=closest(torch.bfloat16) * 1.001, atol=2e-6
        )


def test_reverse_direction_is_the_forward_one_on_reversed_input(isa, dtype):
    case = Case(8, 4, 5, 21, bidirectional=True, dtype=dtype)
    both = make_ours(make_peer(case), "cpu")
    one = make_ours(make_peer(replace(case, bidirectional=False)), "cpu")
    reverse = {k: v for k, v in both.state_dict().items() if k.endswith("_reverse")}
    one.load_state_dict({name.removesuffix("_reverse"): w for name, w in reverse.items()})
    x = make_inputs(case)["input"]
    output, (h_n, _) = both(x)
    expected, (h_expected, _) = one(x.flip(0))
    torch.testing.assert_close(output[..., 21:], expected.flip(0))
    torch.testing.assert_close(h_n[1], h_expected[0])
