"""Memory: flat over ten thousand calls, torch's error where there is none, 2^31 elements."""

import os

import pytest
import torch
from process import run_python
from torch import nn

from fastlstm import functional
from fastlstm.verify import make_ours

CALLS = """
import torch, fastlstm
from fastlstm.verify import Case, make_inputs, make_ours, make_peer

torch.set_num_threads(2)
kinds = {}, {"bidirectional": True}, {"dtype": "bfloat16"}, {"proj": 3}, {"layers": 3}
cases = [Case(T, B, 5, H, **kind) for T, B, H in ((1, 1, 8), (3, 2, 9), (4, 40, 33))
         for kind in kinds]
jobs = [(make_ours(make_peer(case), "cpu"), make_inputs(case)["input"]) for case in cases]
held = [fastlstm.LSTM(5, 20, precision=precision) for precision in ("bf16", "int8")]
stream, row = fastlstm.LSTM(5, 20).stream(), torch.randn(1, 5)

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

def calls(rounds):
    count = 0
    for _ in range(rounds):
        for lstm, x in jobs:
            y, _ = lstm(x)
            y.sum().backward()
        lstm, x = jobs[1]
        lstm(x, lengths=[1] * x.shape[1])
        with torch.no_grad():
            for lstm in held:
                lstm(torch.randn(3, 2, 5))
        stream(row)
        count += 2 * len(jobs) + len(held) + 2
    return count

calls(30)
before = resident()
count = calls(300)
print(count, resident() - before)
"""


def test_ten_thousand_calls_leave_the_resident_size_flat():
    done = run_python(CALLS)
    count, grown = map(int, done.stdout.split())
    assert count >= 10_000
    assert grown < 2 << 20, f"{grown} bytes"


EXHAUSTED = """
import resource, torch, fastlstm
torch.set_num_threads(1)
lstm, x = fastlstm.LSTM(64, 512, backend="cpu"), torch.randn(60, 64, 64)
expected = [lstm(x)[0].detach()]

def use(keep):
    y, _ = lstm(x)
    if keep == "backward":
        y.sum().backward()
    elif keep == "forward":
        expected.append(y.detach())
        expected.pop()

def limit(more):
    size = int(open("/proc/self/statm").read().split()[0]) * 4096
    most = size + more if more else resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))

failed, other = 0, []
for more in range(1 << 20, 101 << 20, 4 << 20):
    for keep in ("forward", "backward"):
        limit(more)
        try:
            use(keep)
        except RuntimeError as error:
            failed += "fastlstm: can't allocate memory: you tried to allocate" in str(error)
            other += [] if "can't allocate memory" in str(error) else [str(error)]
        except BaseException as error:
            other.append(repr(error))
        limit(None)
use("backward")
print(failed, other, torch.equal(lstm(x)[0], expected[0]))
"""


def test_out_of_memory_is_the_error_that_torch_raises():
    """Wherever in a call it happens; and the process goes on."""
    done = run_python(EXHAUSTED)
    failed, rest = done.stdout.split(maxsplit=1)
    assert rest.strip() == "[] True", done.stdout + done.stderr
    assert int(failed) > 0


def empty(*shape):
    """bfloat16 zeros that take memory only where they are touched."""
    try:
        return torch.empty(shape, dtype=torch.bfloat16)
    except RuntimeError:
        pytest.skip("no room for so many addresses")


@pytest.mark.parametrize("name", ["input", "weight_ih"])
def test_an_index_above_32_bits(name):
    """Rows at the end of an x of 2^31 elements and more, and of a weight: bit for bit those."""
    if name == "input":
        peer, rows = nn.LSTM(1 << 12, 3).bfloat16(), (1 << 19) + 5
        ours, near = make_ours(peer, "cpu"), torch.randn(6, 1 << 12).bfloat16()
        far = empty(rows, 1 << 12)
        far[-6:] = near
        state, weights = torch.zeros(1, 2, 3).bfloat16(), list(ours.parameters())
        sizes, where = torch.tensor([2, 2, 2]), torch.arange(rows - 6, rows)
        with torch.no_grad():
            expected = functional.lstm(near, state, state, weights, sizes, backend="cpu")
            got = functional.lstm(far, state, state, weights, sizes, where, backend="cpu")
        assert torch.equal(got[0][-6:], expected[0])
        assert not got[0][:-6].any()
        assert torch.equal(got[1], expected[1])
        return
    I = (1 << 29) // 4 + 3  # 4H * I elements with H = 4
    if "FASTLSTM_LARGE" not in os.environ:
        pytest.skip("takes 5 GB: FASTLSTM_LARGE=1 runs it")
    weight = empty(16, I).zero_()
    weight[:, -5:] = torch.randn(16, 5)
    hh, state = torch.randn(16, 4).bfloat16(), torch.zeros(1, 1, 4).bfloat16()
    x = torch.zeros(1, 1, I).bfloat16()
    x[..., -5:] = torch.randn(5)
    with torch.no_grad():
        got = functional.lstm(x, state, state, [weight, hh], backend="cpu")
        few = functional.lstm(x[..., -8:], state, state, [weight[:, -8:], hh], backend="cpu")
    torch.testing.assert_close(got, few)


@pytest.mark.skipif("FASTLSTM_LARGE" not in os.environ, reason="takes 10 GB: FASTLSTM_LARGE=1")
def test_results_of_more_than_2_to_the_31_elements():
    """Of the last sequences of the batch what they give alone."""
    T, B, H = 1 << 17, 1032, 16
    ours, x = make_ours(nn.LSTM(1, H).bfloat16(), "cpu"), torch.randn(T, B, 1).bfloat16()
    with torch.no_grad():
        y, (h_n, _) = ours(x)
        assert y.numel() > 1 << 31
        alone, (h_alone, _) = ours(x[:, -2:].contiguous())
    assert torch.equal(y[:, -2:], alone)
    assert torch.equal(h_n[:, -2:], h_alone)
