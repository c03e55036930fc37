"""`fastlstm bench`: measure, print, write, draw."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from fastlstm.bench.case import INFERENCE, PASSES, TRAINING
from fastlstm.bench.conditions import conditions, describe, slug
from fastlstm.bench.grid import choose_cases
from fastlstm.bench.layer import Bench, measure_case
from fastlstm.bench.limits import limit_rows, measure_limits
from fastlstm.bench.providers import choose_providers
from fastlstm.bench.row import Row, write_rows
from fastlstm.bench.timing import Effort
from fastlstm.verify_cases import DTYPES

QUICK = Effort(rounds=7, sample=0.006, budget=1.5, slow=4, slow_rounds=2, memory_rounds=1)
FULL = Effort(rounds=15, sample=0.015, budget=5, slow=4)
PLAIN_WIDTH = 160
EXTRA = {"matplotlib", "rich", "numpy", "safetensors"}  # what fastlstm[bench] adds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fastlstm bench`."""
    add = parser.add_argument
    add("--quick", action="store_true", help="fewer shapes and rounds: two minutes")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="default: cpu")
    add(
        "--dtype",
        action="append",
        choices=DTYPES,
        help="default: float32; in the grid bfloat16 too",
    )
    add("--shapes", nargs="+", default=[], metavar="I,H,L,B,T", help="these instead of the grid")
    add("--against", action="append", default=[], metavar="NAME", help="only this peer; repeatable")
    add("--threads", type=int, help="default: torch's choice")
    add("--output", type=Path, default=Path("benchmarks/results"), help="folder of the results")


def run(args: argparse.Namespace) -> int:
    """Measure what is asked for; 1 if the results of a provider were wrong."""
    args.dtype = list(dict.fromkeys(args.dtype or []))
    args.shapes = list(dict.fromkeys(args.shapes))
    _check(args)
    console = make_console()
    lines = _Lines(console)
    lines.say("measuring the machine's limits")
    cases = choose_cases(args.quick, args.shapes, args.dtype, args.device)
    limits = measure_limits(args.device, [case.dtype for case in cases])
    where = conditions(args.device)  # now that the clock is that of a machine at work
    path = args.output / f"{slug(where['device'])}-{where['date']}.csv"
    lines.say(describe(where))
    rows = limit_rows(limits, where)
    write_rows(path, rows)
    bench = Bench(args.device, QUICK if args.quick else FULL, limits, where, lines.say)
    for new in measure(args, bench):
        write_rows(path, new)
        rows += new
    table, plots = _optional("table", lines.say), _optional("plots", lines.say)
    if table and console:
        console.print()
        table.print_tables(console, rows)
    # the time of day keeps the pictures of a day's runs apart
    stem = path.with_name(f"{path.stem}T{where['run'][11:16].replace(':', '')}")
    for written in (path, *(plots.draw(rows, stem) if plots else [])):
        lines.say(str(written))
    return 1 if lines.refused else 0


def make_console() -> Any:
    """A console that never breaks a table's line where nobody looks at a terminal; or None."""
    if find_spec("rich") is None:
        return None
    console = import_module("rich.console").Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console


def measure(args: argparse.Namespace, bench: Bench) -> Iterator[list[Row]]:
    """The rows of a run as they come: of each case, of the trainer."""
    measures = (INFERENCE, TRAINING) if args.quick else PASSES
    cases = list(choose_cases(args.quick, args.shapes, args.dtype, args.device))
    for number, case in enumerate(cases, 1):
        providers, absent = choose_providers(args.device, case.dtype, args.against)
        for line in absent:
            bench.say(line)
        rows = measure_case(bench, case, providers, measures)
        bench.say(f"{number}/{len(cases)} {case}: {_short(rows)}")
        yield rows
    training = _optional("training", bench.say)
    if training and not args.shapes and any(case.dtype == "float32" for case in cases):
        for trainer in training.QUICK if args.quick else training.FULL:
            yield training.measure_trainer(bench, trainer)


def _check(args: argparse.Namespace) -> None:
    """Errors before anything is measured; sets the number of threads."""
    if args.device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("--device cuda: torch sees no CUDA device here")
    if args.threads is not None:
        if args.threads < 1:
            raise ValueError(f"--threads must be at least 1, got {args.threads}")
        torch.set_num_threads(args.threads)
    for dtype in {
        case.dtype for case in choose_cases(args.quick, args.shapes, args.dtype, args.device)
    }:
        choose_providers(args.device, dtype, args.against)
    args.output.mkdir(parents=True, exist_ok=True)


class _Lines:
    """Prints each line once, and knows whether one said that a provider was refused."""

    def __init__(self, console: Any) -> None:
        self._console, self._said = console, set[str]()
        self.refused = False

    def say(self, line: str) -> None:
        self.refused |= "REFUSED" in line
        if line in self._said:
            return
        self._said.add(line)
        if self._console:
            self._console.print(line, markup=False)
        else:
            print(line, flush=True)


def _short(rows: Sequence[Row]) -> str:
    """What one line says of a case."""
    ours = [row for row in rows if row.auto and row.metric == "time" and row.ratio]
    return "  ".join(f"{row.measure} {row.ratio:.2f}x" for row in ours)


def _optional(name: str, say: Callable[[str], None]) -> Any:
    """A module of this package, or None and a line if it needs what is not installed."""
    try:
        return import_module(f"fastlstm.bench.{name}")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in EXTRA:
            raise
        say(f"no {name}: {missing} is not installed; pip install 'fastlstm[bench]' brings it")
        return None
