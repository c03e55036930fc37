"""Subnormal numbers, and the same bits from process to process."""

import os

import pytest
import torch
from process import run_python

import fastlstm

SUBNORMAL = """
import torch
small = torch.full((1 << 18,), 1e-40)  # large enough for all of torch's threads

def survives():
    return bool((small * 0.5 > 0).all()) and 5e-324 * 1.0 > 0

def calls(n):
    torch.set_num_threads(n)
    lstm, x = fastlstm.LSTM(20, 100, 2, backend="cpu"), torch.randn(9, 12, 20)
    lstm(x)[0].sum().backward()
    with torch.no_grad():
        lstm(x)
        fastlstm.LSTM(20, 100, precision="int8")(x)
        lstm.stream(12)(x[0])

torch.set_num_threads(2)
answers = [survives()]
import fastlstm
answers.append(survives())
for n in (1, 2, 3):
    calls(n)
    answers.append(survives())
print(all(answers))
"""


def test_no_flush_to_zero_leaks_into_the_process():
    """Neither what is imported nor a call changes what becomes of subnormals, on any thread."""
    done = run_python(SUBNORMAL)
    assert done.stdout.strip() == "True", done.stderr


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="elsewhere they cost nothing")
@pytest.mark.parametrize("batch", [1, 64])
def test_subnormals_are_zero_within_a_call(isa, threads, batch):
    """Else each costs a product some hundred cycles: benchmarks/subnormals.py."""
    lstm, x = fastlstm.LSTM(3, 128, backend="cpu"), torch.zeros(9, batch, 3)
    with torch.no_grad():
        for parameter in lstm.parameters():
            parameter.zero_()
        lstm.bias_ih_l0[128:256] = 100.0  # the forget gate is open
        for c, kept in ((1e-40, 0.0), (1e-30, 1e-30)):
            hx = torch.zeros(1, batch, 128), torch.full((1, batch, 128), c)
            _, (_, c_n) = lstm(x, hx)
            torch.testing.assert_close(c_n, torch.full_like(c_n, kept), rtol=1e-5, atol=0.0)


DIGEST = """
import hashlib, torch
from fastlstm.backends import cpu
from fastlstm.verify import Case, make_inputs, make_ours, make_peer, quantities

cases = [Case(6, 3, 20, 200), Case(9, 33, 30, 60, ragged=True), Case(20, 1, 12, 40, layers=3),
         Case(5, 4, 7, 30, bidirectional=True, dtype="bfloat16"), Case(7, 9, 5, 64, proj=9)]
digest = hashlib.sha256()
for isa in cpu.isas():
    with cpu.use_isa(isa):
        for case in cases:
            results = quantities(make_ours(make_peer(case), "cpu"), case, make_inputs(case))
            for tensor in results.values():
                digest.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
print(digest.hexdigest())
"""


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_the_same_bits_in_every_process(hash_seed):
    """Whatever threads it has, wherever its memory lies."""
    runs = {
        run_python(DIGEST, OMP_NUM_THREADS=str(n), PYTHONHASHSEED=hash_seed).stdout
        for n in (1, 2, 3)
    }
    assert len(runs) == 1
    assert len(runs.pop().strip()) == 64
