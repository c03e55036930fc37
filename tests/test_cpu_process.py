"""The C++ kernels in a process: threads, forks, the GIL and the environment."""

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from process import run_python
from torch import nn

import fastlstm
from fastlstm.backends import cpu
from fastlstm.verify import Case, make_inputs, make_ours, make_peer, quantities


@pytest.mark.parametrize("isa", cpu.isas())
def test_environment_chooses_the_variant(isa):
    code = "from fastlstm.backends import cpu; print(cpu.isa())"
    assert run_python(code, FASTLSTM_CPU_ISA=isa).stdout.split() == [isa]


def test_without_environment_the_best_variant_runs(monkeypatch):
    monkeypatch.delenv("FASTLSTM_CPU_ISA", raising=False)
    code = "from fastlstm.backends import cpu; print(cpu.isa(), cpu.isas()[-1])"
    chosen, best = run_python(code).stdout.split()
    assert chosen == best


def test_unknown_variant_is_an_error_and_never_ignored():
    code = """
import torch, fastlstm
layer, x = fastlstm.LSTM(2, 3), torch.zeros(1, 1, 2)
for backend in ("aten", "reference"):
    fastlstm.LSTM(2, 3, backend=backend)(x)
print("imported")
fastlstm.LSTM(2, 3, backend="cpu")(x)
"""
    done = run_python(code, FASTLSTM_CPU_ISA="avx9")
    assert done.stdout.split() == ["imported"]
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("RuntimeError")
    for word in ("FASTLSTM_CPU_ISA", "avx9", *cpu.isas()):
        assert word in last


def test_unknown_variant_by_name_is_an_error():
    before = cpu.isa()
    with pytest.raises(RuntimeError, match="avx9"), cpu.use_isa("avx9"):
        pass
    assert cpu.isa() == before


def test_use_isa_restores_after_an_error():
    before = cpu.isa()
    with pytest.raises(KeyError), cpu.use_isa("generic"):
        raise KeyError(cpu.isa())
    assert cpu.isa() == before


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_no_more_threads_than_torch_is_told(threads):
    code = f"""
import os, torch, fastlstm
torch.set_num_threads({threads})
before = len(os.listdir("/proc/self/task"))
layer = fastlstm.LSTM(64, 128, 2, bidirectional=True, backend="cpu")
for batch in (1, 40):
    layer(torch.randn(9, batch, 64))[0].sum().backward()
print(len(os.listdir("/proc/self/task")) - before)
"""
    done = run_python(code, OMP_NUM_THREADS="8")
    assert int(done.stdout) <= threads - 1, done.stderr


def test_other_python_threads_run_during_a_call(set_threads):
    """The GIL is released: a ticking thread never stands still for as long as the kernel runs."""
    set_threads(1)
    layer, x = fastlstm.LSTM(1, 256, backend="cpu"), torch.randn(3000, 1, 1)
    ticks, stop = [time.perf_counter()], threading.Event()

    def tick():
        while not stop.wait(0.001):
            ticks.append(time.perf_counter())

    ticker = threading.Thread(target=tick)
    ticker.start()
    start = time.perf_counter()
    with torch.no_grad():
        layer(x)
    end = time.perf_counter()
    stop.set()
    ticker.join()
    inside = [start, *(t for t in ticks if start < t < end), end]
    longest = max(b - a for a, b in itertools.pairwise(inside))
    assert longest < 0.6 * (end - start)


@pytest.mark.parametrize("threads", [1, 2])
def test_several_python_threads_at_once(threads, set_threads):
    set_threads(threads)
    cases = [Case(7, b, 5, 20 + b, bidirectional=b % 2 == 0, ragged=b > 2) for b in range(1, 6)]
    jobs = [(make_ours(make_peer(case), "cpu"), case, make_inputs(case)) for case in cases]
    alone = [quantities(*job) for job in jobs]

    def repeat(k):
        torch.set_num_threads(threads)  # torch keeps it per thread
        return [quantities(*jobs[k]) for _ in range(20)]

    with ThreadPoolExecutor(len(jobs)) as pool:
        for expected, runs in zip(alone, pool.map(repeat, range(len(jobs))), strict=True):
            for run in runs:
                for name, tensor in run.items():
                    torch.testing.assert_close(tensor, expected[name], msg=name)


def test_forked_child():
    """A child of a process that has used two threads computes what its parent computed.

    It sets one thread, as the workers of a DataLoader do: with more, torch's own GEMM never ends.
    """
    code = """
import os, torch
from fastlstm.verify import Case, make_inputs, make_ours, make_peer, quantities
torch.set_num_threads(2)
case = Case(7, 8, 6, 40, layers=2, bidirectional=True)
job = make_ours(make_peer(case), "cpu"), case, make_inputs(case)
expected = quantities(*job)
child = os.fork()
if child == 0:
    torch.set_num_threads(1)
    got = quantities(*job)
    same = all(torch.allclose(got[k], expected[k], atol=1e-6) for k in expected)
    os._exit(0 if same else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
quantities(*job)
"""
    assert run_python(code, timeout=60).stdout.split() == ["0"]


@pytest.mark.parametrize("batch", [3, 1200], ids=["units-split", "batch-split"])
def test_more_threads_than_a_group_holds(batch, set_threads):
    peer = nn.LSTM(64, 64)
    x = torch.randn(4, batch, 64)
    expected = peer(x)
    set_threads(300)
    torch.testing.assert_close(make_ours(peer, "cpu")(x), expected)
