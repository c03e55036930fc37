"""Training runs that are killed at random moments, again and again: `--kills N`, `--seed N`.

Each run is killed and resumed until it has reached its last step; then it must be, byte for byte
but for the clock and its own id, the run that nobody killed. When it is, the next run begins, until
there have been N kills. Processes are forked off this one, which has torch imported, so that a kill
may fall anywhere: while the folder is made, while a checkpoint is read, while it is written.

Prints a line of JSON: how many kills, runs, and the moments at which kills fell.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch
import torch._dynamo  # an optimizer imports it: before the forks
from safetensors import safe_open

from fastlstm.cli import main
from fastlstm.rnnlm import commands  # noqa: F401  (before the forks)
from fastlstm.rnnlm.runs import never_saved, open_run
from fastlstm.rnnlm.saved import read_checkpoint

SENTENCE = "the quick brown fox jumps over the lazy dog . 我在 法国 长大 .\n"
OPTIONS = (
    "--hidden 12 --batch 4 --window 10 --threads 1 --level char --steps 150 --eval-every 5 "
    "--dropout 0.3 --dropout-output 0.2 --average always"
)


def start(arguments: list[str], out: Path) -> int:
    """A forked process that runs the command, its output at the end of the file `out`."""
    pid = os.fork()
    if pid == 0:
        file = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, 1)
        os.dup2(file, 2)
        code = 99
        try:
            code = main(arguments)
        finally:
            os._exit(code)
    return pid


def finish(pid: int, delay: float) -> int | None:
    """Its exit code, or None where it had to be killed after `delay` seconds."""
    deadline = time.monotonic() + delay
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return None if code == -signal.SIGKILL else code


def contents(run: Path) -> dict[str, object]:
    """All that a run folder holds but the clock and the run's id."""
    found: dict[str, object] = {"names": sorted(p.name for p in run.iterdir())}
    values = json.loads((run / "config.json").read_text())
    found["config.json"] = {name: value for name, value in values.items() if name != "run_id"}
    for name in ("vocabulary.json", "log.jsonl"):
        found[name] = (run / name).read_bytes()
    speeds = (run / "speed.jsonl").read_text().splitlines()
    found["speed.jsonl"] = [json.loads(line)["step"] for line in speeds]
    for name in ("best.safetensors", "last.safetensors"):
        with safe_open(run / name, "pt") as file:
            progress = file.metadata()
            more = json.loads(progress.pop("more"))
            found[name] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        del progress["sha256"], progress["run_id"], more["seconds"]
        found[f"{name}, progress"] = (progress, more)
    return found


def differing(run: Path, whole: Path) -> list[str]:
    """What of two runs differs by a byte."""
    got, expected, names = contents(run), contents(whole), []
    for name, value in expected.items():
        if isinstance(value, dict) and name.endswith(".safetensors"):
            tensors = got[name]
            assert isinstance(tensors, dict)
            same = value.keys() == tensors.keys() and all(
                torch.equal(value[key], tensors[key]) for key in value
            )
        else:
            same = got[name] == value
        names += [] if same else [name]
    return names


def check_sound(run: Path) -> str:
    """Where a kill fell; raises where it left anything damaged."""
    if not run.exists():
        return "before there was a folder"
    opened = open_run(run)
    if never_saved(opened):
        return "before the first checkpoint"
    _, last = read_checkpoint(opened, "last")
    if (run / "best.safetensors").exists():
        _, best = read_checkpoint(opened, "best")
        assert best.step <= last.step
    left_over = any(path.name.endswith(f".{os.getpid()}") for path in run.iterdir())
    assert not left_over
    return "while a file was written" if list(run.glob(".*.*")) else "between writes"


def kill_until_done(folder: Path, whole: Path, length: float, kills: int, chance) -> Counter[str]:
    """A run killed at most `kills` times and then finished; where the kills fell."""
    run, out, moments = folder / "run", folder / "out", Counter[str]()
    train = ["train", str(whole.parent / "fox.txt"), *OPTIONS.split(), "--cache"]
    train += [str(folder / "cache"), "--out", str(run)]
    code = None
    while code is None:
        delay = chance.uniform(0, length) if moments.total() < kills else 600
        arguments = ["resume", str(run)] if run.exists() else train
        code = finish(start(arguments, out), delay)
        if code is None:
            moments[check_sound(run)] += 1
    said = out.read_text()
    assert code == 0, said[-2000:]
    assert "Traceback" not in said, said[-2000:]
    assert "fastlstm: error" not in said, said[-2000:]
    # the cache is each run's own, so that kills fall into its making too
    config = run / "config.json"
    config.write_text(config.read_text().replace(str(folder), str(whole.parent)))
    different = differing(run, whole)
    assert not different, f"differ: {different}"
    return moments


def kill_runs(kills: int, seed: int) -> dict[str, object]:
    """Kill until there have been `kills` kills."""
    chance, moments, runs = random.Random(seed), Counter[str](), 0
    with tempfile.TemporaryDirectory() as name:
        base = Path(name) / "whole"
        base.mkdir()
        (base / "fox.txt").write_text(SENTENCE * 60, encoding="utf-8")
        whole, began = base / "run", time.monotonic()
        train = ["train", str(base / "fox.txt"), *OPTIONS.split()]
        train += ["--cache", str(base / "cache"), "--out", str(whole)]
        assert finish(start(train, base / "out"), 600) == 0, (base / "out").read_text()
        length = time.monotonic() - began
        while moments.total() < kills:
            runs += 1
            folder = Path(name) / str(runs)
            folder.mkdir()
            left = kills - moments.total()
            moments += kill_until_done(folder, whole, length / 2, left, chance)
    return {"kills": moments.total(), "runs": runs, "moments": dict(moments)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(json.dumps(kill_runs(given.kills, given.seed)))
    sys.exit(0)
