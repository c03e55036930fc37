"""A corpus larger than the memory that is allowed trains; memory does not grow with it."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

# The limit is on what a process may allocate (a mapped file is not); the peak is of all that is
# resident, mapped files too. Both are beside the peak of a first, small run, which has loaded all
# code. N-grams learn from few tokens; xz asks for 94 MiB, of which it hardly touches any.
PROGRAM = """
import resource, sys
from fastlstm.cli import main
from fastlstm.rnnlm import yardsticks
yardsticks.N_GRAM_MOST = 50_000
small, text, out, *options = sys.argv[1:]
assert main(["train", small, *options, "--out", out + "-small"]) == 0
status = dict(line.split(":") for line in open("/proc/self/status"))
now, before, data = (int(status[name].split()[0]) for name in ("VmRSS", "VmHWM", "VmData"))
limit = (data + before - now + (ALLOWED + 94) * 1024) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
assert main(["train", text, *options, "--out", out]) == 0
status = dict(line.split(":") for line in open("/proc/self/status"))
print("grew", (int(status["VmHWM"].split()[0]) - before) // 1024)
"""
OPTIONS = ["--hidden", "8", "--layers", "1", "--batch", "50", "--window", "50", "--threads", "1"]


def write_text(path: Path, mebibytes: int) -> None:
    """Lines of words, of which some are rare."""
    lines = [
        f"line {n % 997:>6} of a text with a rare word {n % 4999:>8} now\n" for n in range(9973)
    ]
    block = "".join(lines)
    with path.open("w") as file:
        for _ in range(max(1, mebibytes * 2**20 // len(block))):
            file.write(block)


@pytest.mark.parametrize(
    ("level", "mebibytes", "allowed"),
    [("byte", 120, 64), ("char", 40, 64), ("word", 24, 64), ("bpe", 5, 64), ("jsonl", 24, 64)],
)
def test_memory_is_flat(tmp_path, level, mebibytes, allowed):
    """At most `allowed` MiB more than a text of 3 MiB takes."""
    name = "large.txt"
    write_text(tmp_path / "small.txt", 3)
    write_text(tmp_path / name, mebibytes)
    if level == "jsonl":
        name, level = "large.jsonl.gz", "byte"
        with gzip.open(tmp_path / name, "wt", 1) as packed, (tmp_path / "large.txt").open() as file:
            packed.writelines(f'{{"text": "{line.strip()}"}}\n' for line in file)
    options = [*OPTIONS, "--level", level, "--vocab-size", "300", "--steps", "130"]
    arguments = [tmp_path / "small.txt", tmp_path / name, tmp_path / "run", *options]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("ALLOWED", str(allowed)), *map(str, arguments)],
        env=os.environ | {"FASTLSTM_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.rsplit("grew ", 1)[1]) < allowed


EVALUATION = """
import sys, torch
from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.dynamic import Dynamic, dynamic_losses
from fastlstm.rnnlm.evaluation import token_losses
from fastlstm.rnnlm.model import make_model
from fastlstm.rnnlm.neural_cache import Cache, cache_losses
torch.set_num_threads(1)
model = make_model(20_000, Config(hidden=8, layers=1), torch.device("cpu"))
tokens = torch.randint(20_000, (24_000,), dtype=torch.int32)
read = {
    "plain": lambda part: token_losses(model, part, 0),
    "dynamic": lambda part: dynamic_losses(model, part, 0, Dynamic(0.1, segment=200)),
    "cache": lambda part: cache_losses(model, part, 0, Cache(size=100)),
}[sys.argv[1]]
read(tokens[:6000])
def peak():
    status = dict(line.split(":") for line in open("/proc/self/status"))
    return int(status["VmHWM"].split()[0]) // 1024
before = peak()
read(tokens)
print(peak() - before)
"""


@pytest.mark.parametrize("way", ["plain", "dynamic", "cache"])
def test_evaluation_with_a_large_vocabulary_is_flat(way):
    """All logits would be 1.9 GB, and those of the windows before must not stay. What does not grow
    with the text, the allocator's own share, came to 64 MB at most."""
    command = [sys.executable, "-c", EVALUATION, way]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 256
