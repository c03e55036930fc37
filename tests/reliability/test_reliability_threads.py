"""Many callers at once: Python threads, forks, spawned processes, too few cores, interpreters."""

import multiprocessing
import random
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from process import run_python

import fastlstm
from fastlstm.verify import Case, make_inputs, make_ours, make_peer, quantities, verify

CASES = [
    Case(6, 3, 20, 200),  # units are shared
    Case(9, 33, 30, 60, ragged=True),  # rows are
    Case(20, 1, 12, 40, layers=3),  # layers are
    Case(5, 4, 7, 30, bidirectional=True, dtype="bfloat16"),
]


def jobs_of(cases):
    return [(make_ours(make_peer(case), "cpu"), case, make_inputs(case)) for case in cases]


def test_threads_that_change_the_number_of_threads():
    """Each of six Python threads calls with one to four threads in turn: the same bits, always."""
    jobs = jobs_of(CASES)
    alone = [quantities(*job) for job in jobs]

    def call_often(seed):
        choose = random.Random(seed)
        for _ in range(25):
            n = choose.randrange(len(jobs))
            torch.set_num_threads(choose.randint(1, 4))
            for name, tensor in quantities(*jobs[n]).items():
                if not torch.equal(tensor, alone[n][name]):
                    return f"{CASES[n]}: {name}"
        return ""

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(call_often, range(6))) == [""] * 6


FORK = """
import os, threading, torch
from fastlstm.verify import Case, make_inputs, make_ours, make_peer
torch.set_num_threads(2)
cases = [Case(6, 3, 20, 200), Case(9, 33, 30, 60), Case(1, 2, 9, 40), Case(20, 1, 12, 40, layers=3)]
jobs = [(make_ours(make_peer(case), "cpu"), make_inputs(case)["input"]) for case in cases]

def run():
    results = []
    for lstm, x in jobs:
        with torch.no_grad():
            results.append(lstm(x)[0])
        y, _ = lstm(x.requires_grad_())
        results += [y.detach(), *torch.autograd.grad(y, [x, *lstm.parameters()], y.detach())]
    return results

expected, stop = run(), threading.Event()

def work():
    torch.set_num_threads(2)
    while not stop.is_set():
        run()

workers = [threading.Thread(target=work) for _ in range(2)]
for worker in workers:
    worker.start()
codes = []
for _ in range(10):
    child = os.fork()
    if child == 0:
        results = run()
        torch.set_num_threads(1)  # torch's own operators hang in such a child with more
        os._exit(0 if all(map(torch.equal, results, expected)) else 3)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
stop.set()
for worker in workers:
    worker.join()
print(codes, all(map(torch.equal, run(), expected)))
"""


def test_forks_while_other_threads_call():
    """Children that keep two threads, of a parent in the midst of calls: the same bits."""
    assert run_python(FORK, timeout=120).stdout.strip() == f"{[0] * 10} True"


def test_spawned_process():
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        results = pool.submit(verify, ["cpu"], CASES[:2]).result(timeout=120)
    assert results
    assert all(result.ok for result in results)


def test_a_busy_machine_slows_calls_down_and_no_more():
    """Two spinning processes for each core: no call hangs. docs/reliability.md has the times."""
    script = Path(__file__).with_name("busy.py").read_text()
    done = run_python(script, timeout=300, ROUNDS="15")
    worst = dict(line.split() for line in done.stdout.splitlines())
    assert len(worst) == 3, done.stderr
    for shape, seconds in worst.items():
        assert float(seconds) < 20, shape


INTERPRETER = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
other = interpreters.create()
try:
    failure = interpreters.run_string(other, "import fastlstm")
except Exception as error:
    failure = error
print(failure)
"""


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="another name of the module")
def test_a_subinterpreter_is_refused():
    """torch would hang or crash in it."""
    done = run_python(INTERPRETER, timeout=60)
    assert "fastlstm runs in the main interpreter alone, as torch does" in done.stdout, done.stderr


def test_python_threads_without_a_limit():
    """As many as a server may have: each with a layer and a stream of its own."""
    x = torch.randn(5, 2, 6)
    failures = []

    def serve():
        torch.set_num_threads(2)
        lstm = fastlstm.LSTM(6, 20, backend="cpu")
        with torch.no_grad():
            expected, stream = lstm(x)[0], lstm.stream(batch_size=2)
            for _ in range(20):
                stream.reset()
                steps = torch.stack([stream(row) for row in x])
                if not torch.allclose(steps, expected, atol=1e-6):
                    failures.append(threading.get_ident())

    threads = [threading.Thread(target=serve) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert not any(thread.is_alive() for thread in threads)
