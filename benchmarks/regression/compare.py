"""The working tree against another commit: `python benchmarks/regression [COMMIT]`.

Both are built afresh and timed in a process each, in turn: base new, new base, ... Several pairs of
processes share the rounds, for where memory lands stays as it is while a process lives. Results are
compared before any time is taken. nn.LSTM is timed in both processes too: its ratio between them,
the control, is 1 but for noise.

"faster" or "slower" is a row whose ratio, base to new, has a 99% confidence interval of the median
that lies on one side of 1, and a median at least 2% from 1 and outside the control's interval; any
other is "same". More rounds tell smaller differences; fewer than 8 can't reach 99%.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from builds import build, commit_id, copy_working_tree, git, kill, worktree
from verdict import BASE, NEW, OURS, PEER, SLOWER, Row, Times, make_row, table

ROOT = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("worker.py")
MEASURES = ("inference", "forward+backward")
DTYPES = ("float32", "bfloat16", "float16", "float64")
SHAPES = (  # I,H,layers,B,T
    "64,64,1,1,100", "256,256,1,1,128", "128,128,1,32,64", "128,128,2,50,50",
    "512,512,1,32,64", "32,32,1,256,128", "256,256,1,20,35", "128,128,1,1,1",
)  # fmt: skip
ROUNDS, MIN_ROUNDS, MIN_PAIRS, ROUNDS_PER_PAIR = 24, 5, 4, 6


class Side:
    """A worker process on one of the two builds."""

    def __init__(self, name: str, folder: Path, threads: int | None) -> None:
        self.name = name
        command = [sys.executable, "-P", str(WORKER), str(folder)]
        self._process = subprocess.Popen(
            command + (["--threads", str(threads)] if threads else []), cwd=folder, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=1, start_new_session=True,
        )  # fmt: skip

    def ask(self, do: str, **arguments: str) -> Any:
        """The answer to a request. RuntimeError if the worker can't give one."""
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(BrokenPipeError):  # then it has left a line that says why
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the {self.name} worker ended: exit code {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"the {self.name} worker, asked to {do}: {answer['error']}")
        return answer["value"]

    def close(self) -> None:
        """End the process."""
        kill(self._process)
        self._process.communicate()  # closes the pipes


@contextlib.contextmanager
def start_pair(folders: dict[str, Path], args: argparse.Namespace) -> Iterator[list[Side]]:
    """A worker on each build, the shapes prepared. RuntimeError if their results differ."""
    with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory() as scratch:
        sides = []
        for name, folder in folders.items():
            sides.append(Side(name, folder, args.threads))
            stack.callback(sides[-1].close)
        for shape in args.shapes:
            files = [f"{scratch}/{side.name}.pt" for side in sides]
            for side, file in zip(sides, files, strict=True):
                side.ask("prepare", shape=shape, dtype=args.dtype, results_to=file)
            found = sides[1].ask("compare", got=files[1], expected=files[0])
            if found:
                raise RuntimeError(f"{shape}: the trees' results differ: {'; '.join(found)}")
        yield sides


def run_round(sides: list[Side], times: dict[tuple[str, str], Times]) -> None:
    """Add a time of each side, in this order, to every shape and measure."""
    for (shape, name), found in times.items():
        for provider in (OURS, PEER):
            for side in sides:
                seconds = side.ask("time", provider=provider, shape=shape, measure=name)
                found[provider, side.name].append(seconds)


def measure(folders: dict[str, Path], args: argparse.Namespace) -> tuple[list[Row], str]:
    """The rows, and what the times depend on."""
    times: dict[tuple[str, str], Times] = {
        (shape, name): defaultdict(list) for shape in args.shapes for name in args.measure
    }
    pairs = max(min(MIN_PAIRS, args.rounds), args.rounds // ROUNDS_PER_PAIR)
    for pair in range(pairs):
        with start_pair(folders, args) as sides:
            conditions = sides[0].ask("conditions")
            for number in range(args.rounds):
                if number * pairs // args.rounds == pair:
                    show(f"round {number + 1} of {args.rounds}, pair {pair + 1} of {pairs}")
                    run_round(sides if number % 2 == 0 else sides[::-1], times)
    rows = [make_row(*key, found) for key, found in times.items()]
    return rows, f"{conditions}, {args.rounds} rounds in {pairs} pairs of processes"


def show(text: str) -> None:
    """What is being done, over the line before, where somebody looks."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def compare(args: argparse.Namespace) -> list[Row]:
    """Build both trees, measure, print; the rows."""
    load = os.getloadavg()[0]
    commit = commit_id(ROOT, args.commit)
    changes = "with changes" if git(ROOT, "status", "--porcelain") else "without changes"
    head = git(ROOT, "rev-parse", "--short", "HEAD")
    with tempfile.TemporaryDirectory(prefix="fastlstm-regression-") as name:
        scratch = Path(name)
        folders = {side: scratch / "built" / side for side in (BASE, NEW)}
        with worktree(ROOT, commit, scratch / BASE) as base:
            show("building both trees")
            (scratch / "built").mkdir()
            build([base, copy_working_tree(ROOT, scratch / NEW)], list(folders.values()))
        rows, conditions = measure(folders, args)
    show("")
    print(table(rows))
    print(f"{conditions}, {args.dtype}, load before {load:.1f}")
    print(f"base {commit[:7]} ({args.commit}), new: the working tree on {head}, {changes}")
    return rows


def checked_shape(text: str) -> str:
    """I,H,layers,B,T in its usual form. ValueError if it is none."""
    numbers = text.split(",")
    if len(numbers) != 5 or not all(n.strip().isdecimal() and int(n) > 0 for n in numbers):
        raise ValueError(f"--shapes must be I,H,layers,B,T, five positive integers, got {text!r}")
    return ",".join(str(int(n)) for n in numbers)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Say it as any other wrong argument is said."""
        raise ValueError(message)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The arguments. ValueError if one is wrong."""
    parser = Parser(
        prog="regression", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("commit", nargs="?", default="HEAD", help="what to compare with (HEAD)")
    parser.add_argument("--shapes", nargs="+", default=SHAPES, metavar="I,H,L,B,T")
    parser.add_argument("--measure", nargs="+", default=MEASURES, choices=MEASURES)
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, help=f"{ROUNDS}; at least {MIN_ROUNDS}"
    )
    parser.add_argument("--threads", type=int, help="torch's choice")
    parser.add_argument("--dtype", default="float32", choices=DTYPES)
    parser.add_argument("--fail-on-regression", action="store_true", help="exit 1 if one is slower")
    args = parser.parse_args(arguments)
    args.shapes = list(dict.fromkeys(checked_shape(text) for text in args.shapes))
    for name, least in (("rounds", MIN_ROUNDS), ("threads", 1)):
        value = getattr(args, name)
        if value is not None and value < least:
            raise ValueError(f"--{name} must be at least {least}, got {value}")
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0, 1 for a row that must not be slower, 2 where nothing could be compared."""
    try:
        args = parse(arguments)
        rows = compare(args)
    except (ValueError, RuntimeError) as error:
        show("")
        print(f"regression: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        show("")
        return 130
    return 1 if args.fail_on_regression and SLOWER in [row.verdict for row in rows] else 0
