"""The C++ kernels: the same bits whatever the threads, and for a row whatever is beside it."""

from dataclasses import replace

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

from fastlstm.verify import Case, make_inputs, make_ours, make_peer, quantities

# What threads divide among themselves; all of them large enough to be divided at all.
SPLIT = {
    "rows": Case(6, 37, 20, 50),
    "rows, ragged": Case(9, 33, 30, 60, ragged=True),
    "rows, projected": Case(5, 33, 30, 70, proj=33),
    "rows of several chunks": Case(30, 24, 5, 33, bidirectional=True),
    "rows of several chunks, ragged": Case(200, 14, 20, 40, ragged=True),
    "units": Case(5, 3, 20, 200),
    "units, ragged": Case(7, 5, 20, 200, ragged=True),
    "units, projected": Case(6, 3, 70, 200, proj=130),
    "units of one row": Case(6, 1, 40, 260),
    "units of several chunks": Case(80, 7, 5, 140),
    "units forward, rows back": Case(4, 40, 200, 200),
    "directions": Case(30, 2, 10, 40, bidirectional=True),
    "directions and rows": Case(9, 33, 30, 70, bidirectional=True, ragged=True),
    "directions and units": Case(5, 3, 20, 200, bidirectional=True),
    "a step to decode": Case(1, 2, 200, 200, layers=2, bidirectional=True),
    "a step": Case(1, 33, 100, 100, bidirectional=True, proj=30),
}
HARD = Case(6, 5, 3, 37, layers=2, bidirectional=True, ragged=True)


@pytest.mark.parametrize("split", SPLIT)
def test_bitwise_the_same_on_any_number_of_threads(isa, dtype, split, set_threads):
    case = replace(SPLIT[split], dtype=dtype)
    ours, inputs = make_ours(make_peer(case), "cpu"), make_inputs(case)
    alone = quantities(ours, case, inputs)
    for n in (2, 3, 5):
        set_threads(n)
        for name, tensor in quantities(ours, case, inputs).items():
            assert torch.equal(tensor, alone[name]), f"{n} threads: {name}"


@pytest.mark.parametrize("proj", [0, 13])
def test_threads_wait_where_only_states_need_gradients(isa, dtype, proj, set_threads):
    """Nothing but the steps themselves then keeps threads with their own rows together."""
    case = Case(200, 14, 20, 40, ragged=True, proj=proj, dtype=dtype)
    ours, inputs = make_ours(make_peer(case), "cpu").requires_grad_(False), make_inputs(case)
    x = pack_padded_sequence(inputs["input"], case.lengths(), enforce_sorted=False)
    state = inputs["h_0"].requires_grad_(), inputs["c_0"].requires_grad_()
    runs = []
    for n in (1, 2, 3, 3, 3):
        set_threads(n)
        runs.append(torch.autograd.grad(ours(x, state)[0].data.sum(), state))
    for dh_0, dc_0 in runs[1:]:
        assert torch.equal(dh_0, runs[0][0])
        assert torch.equal(dc_0, runs[0][1])


@pytest.mark.parametrize("case", [HARD, replace(HARD, proj=9), Case(4, 20, 3, 64)], ids=str)
def test_bitwise_the_same_from_run_to_run(isa, dtype, case, set_threads):
    set_threads(3)
    case = replace(case, dtype=dtype)
    ours, inputs = make_ours(make_peer(case), "cpu"), make_inputs(case)
    first = quantities(ours, case, inputs)
    for _ in range(4):
        for name, tensor in quantities(ours, case, inputs).items():
            assert torch.equal(tensor, first[name]), name


def rows_of(case, inputs, rows):
    """The inputs of some sequences of a case."""
    return replace(case, B=len(rows)), {name: tensor[:, rows] for name, tensor in inputs.items()}


@pytest.mark.parametrize("proj", [0, 9])
@pytest.mark.parametrize("B", [7, 17, 33, 70])
@pytest.mark.parametrize(("I", "H"), [(5, 29), (65, 130), (16, 64)], ids=["odd", "long", "even"])
def test_a_sequence_alone_is_bitwise_as_in_a_batch(isa, dtype, B, I, H, proj):
    case = Case(4, B, I, H, bidirectional=True, proj=proj, dtype=dtype)
    ours, inputs = make_ours(make_peer(case), "cpu"), make_inputs(case)
    together = quantities(ours, case, inputs)
    for row in (0, 1, B - 1):
        for name, tensor in quantities(ours, *rows_of(case, inputs, [row])).items():
            if "_l0" not in name:  # weights' gradients are sums over the batch
                assert torch.equal(tensor[:, 0], together[name][:, row]), f"row {row}: {name}"


@pytest.mark.parametrize("B", [7, 33])
def test_where_a_sequence_stands_does_not_matter(isa, threads, dtype, B):
    case = Case(4, B, 9, 70, bidirectional=True, dtype=dtype)
    ours, inputs = make_ours(make_peer(case), "cpu"), make_inputs(case)
    expected = quantities(ours, case, inputs)
    rolled = {name: tensor.roll(2, dims=1) for name, tensor in inputs.items()}
    for name, tensor in quantities(ours, case, rolled).items():
        if "_l0" not in name:
            assert torch.equal(tensor.roll(-2, dims=1), expected[name]), name


BAD = {"nan": float("nan"), "inf": float("inf")}


@pytest.mark.parametrize("proj", [0, 11])
@pytest.mark.parametrize("bad", BAD)
def test_rows_are_independent(isa, dtype, bad, proj):
    """NaN or Inf in one sequence leaves the others' results and gradients bitwise alone."""
    case = Case(6, 9, 5, 53, bidirectional=True, proj=proj, dtype=dtype)
    ours, inputs = make_ours(make_peer(case), "cpu"), make_inputs(case)
    expected = quantities(ours, case, inputs)
    for row in (0, 4, 8):
        others = [b for b in range(case.B) if b != row]
        spoilt = {name: tensor.clone() for name, tensor in inputs.items()}
        for name in ("input", "h_0", "c_0"):
            spoilt[name][:, row] = BAD[bad]
        results = quantities(ours, case, spoilt)
        assert results["output"][:, row].isnan().any()
        for name, tensor in results.items():
            if "_l0" not in name:
                assert torch.equal(tensor[:, others], expected[name][:, others]), name


@pytest.mark.parametrize("proj", [0, 11])
@pytest.mark.parametrize("T", [1, 4])
@pytest.mark.parametrize("where", ["input", "h_0", "c_0"])
def test_inf_stays_what_it_is_in_nn_lstm(isa, dtype, where, T, proj):
    """One Inf shuts or opens gates: no NaN but nn.LSTM's own, whatever stands in padded lanes."""
    case = Case(T, 3, 5, 53, proj=proj, dtype=dtype)
    peer, inputs = make_peer(case), make_inputs(case)
    close = {"rtol": 0.03, "atol": 0.03} if dtype == "bfloat16" else {"rtol": 1e-5, "atol": 1e-6}
    inputs[where][0, 1, 2] = float("inf")
    results = quantities(make_ours(peer, "cpu"), case, inputs)
    for name, expected in quantities(peer, case, inputs).items():
        assert torch.equal(results[name].isfinite(), expected.isfinite()), name
        if not name.startswith("grad"):
            torch.testing.assert_close(results[name], expected, **close, equal_nan=True)
