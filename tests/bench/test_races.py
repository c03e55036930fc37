"""benchmarks/gpu/races.py finds a kernel that does not give the same bits every time."""

from pathlib import Path

import pytest
import torch

from fastlstm.backends import aten, cpu
from fastlstm.verify_cases import Case

SMALL = Case(4, 3, 5, 7)


@pytest.fixture
def races(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks" / "gpu"))
    import races

    monkeypatch.setattr(races, "CASES", (SMALL,))
    return races


def differ_on_call(monkeypatch, module, name, call, index):
    """The n-th call of a function gives one result of which one element is off by one bit."""
    honest, count = getattr(module, name), 0

    def function(*arguments):
        nonlocal count
        count += 1
        results = list(honest(*arguments))
        if count == call:
            changed = results[index].detach().clone()
            changed.view(torch.int32).view(-1)[-1] += 1
            results[index] = results[index] + (changed - results[index]).detach()
        return tuple(results)

    monkeypatch.setattr(module, name, function)


def test_the_same_bits_pass(races, capsys):
    assert races.main(["--device", "cpu", "--repeats", "3"]) == 0
    out = capsys.readouterr().out
    assert f"cpu on cpu, {SMALL} float32: 3 repeats, the same bits" in out
    assert out.endswith("graph: needs CUDA, skipped\nraces: none\n")


@pytest.mark.parametrize(
    ("function", "call", "index", "words"),
    [
        ("forward", 7, 0, "repeat 3: output without grad differs in 1 of 84"),
        ("forward", 6, 2, "repeat 2: c_n differs in 1 of 21"),
        ("backward", 2, 1, "repeat 1: grad h_0 differs in 1 of 21"),
    ],
)
def test_one_bit_is_a_difference(races, monkeypatch, capsys, function, call, index, words):
    differ_on_call(monkeypatch, cpu, function, call, index)
    assert races.main(["--device", "cpu", "--repeats", "3"]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"races: cpu on cpu, {SMALL} float32, {words} elements"


def test_pytorch_s_own_is_reported_not_judged(races, monkeypatch, capsys):
    differ_on_call(monkeypatch, aten, "lstm", 3, 0)
    assert races.main(["--device", "cpu", "--repeats", "3", "--backend", "aten"]) == 0
    assert "PyTorch's own, reported only: aten on cpu" in capsys.readouterr().out


@pytest.mark.parametrize("backend", ["cuda", "auto"])
def test_a_backend_that_is_not_there_is_an_error(races, capsys, backend):
    assert races.main(["--device", "cpu", "--backend", backend]) == 2
    assert "races: error: backend must be one of" in capsys.readouterr().out


def test_comparison_is_bitwise(races):
    zero, nan = torch.zeros(3), torch.full((3,), float("nan"))
    races.compare({"y": nan}, {"y": nan.clone()}, "here")
    with pytest.raises(races.Difference, match=r"^here: y differs in 3 of 3 elements$"):
        races.compare({"y": -zero}, {"y": zero}, "here")
    with pytest.raises(races.Difference, match="y is not finite"):
        races.keep({"y": nan}, "here")


class Replay:
    """Stands for a CUDA graph: runs the function again, or brings what it gave when captured."""

    def __init__(self, run, results, stale):
        self.run, self.results = run, results
        self.first = {name: t.clone() for name, t in results.items()} if stale else None

    def replay(self):
        for name, tensor in (self.first or self.run()).items():
            self.results[name].copy_(tensor)


@pytest.mark.parametrize("training", [False, True])
def test_a_graph_must_follow_its_inputs(races, monkeypatch, training):
    stale = False

    def capture(run):
        results = run()
        return Replay(run, results, stale), results

    monkeypatch.setattr(races, "capture", capture)
    said = races.check_graph(races.Call(SMALL, "cpu", "cpu"), training)
    assert said.endswith("replays give the same bits")
    stale = True
    with pytest.raises(races.Difference, match=r"replay 1 after the inputs changed: .* differs"):
        races.check_graph(races.Call(SMALL, "cpu", "cpu"), training)


def test_a_kernel_s_forward_must_capture(races, monkeypatch):
    def capture(run):
        raise RuntimeError("operation not permitted\nCUDA kernel errors")

    monkeypatch.setattr(races, "capture", capture)
    call = races.Call(SMALL, "cpu", "cpu")
    with pytest.raises(races.Difference, match=r"not captured: operation not permitted$"):
        races.check_graph(call, False)
    assert races.check_graph(call, True).endswith("not captured: operation not permitted")
