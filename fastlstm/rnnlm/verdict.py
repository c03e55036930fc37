"""What a person sees of `train --verify`: both curves, both speeds, and the verdict."""

from collections.abc import Iterable
from statistics import median

from rich.console import Console
from rich.table import Table

from fastlstm.rnnlm.chart import BOTH, OURS, THEIRS, draw_curves
from fastlstm.rnnlm.comparison import ComparedStep
from fastlstm.rnnlm.config import Config

ROWS = 12
LINE_EVERY = 20  # steps between lines of progress


def print_comparison(console: Console, steps: Iterable[ComparedStep], config: Config) -> int:
    """Run the comparison, print it, and return the exit code: 0 equal, 1 not."""
    done: list[ComparedStep] = []
    for step in steps:
        done.append(step)
        if step.step % LINE_EVERY == 0:
            console.print(f"step {step.step:>6}  fastlstm {step.ours:.4f}  torch {step.theirs:.4f}")
    console.print(_table(done))
    _print_curves(console, done)
    _print_speeds(console, done, config)
    fault = done[-1].fault
    if fault is not None:
        console.print(f"FAILED  {fault}")
        return 1
    error, allowed = max(step.error for step in done), done[-1].allowed
    console.print(
        f"passed  {len(done)} steps: loss, states and every gradient agree with nn.LSTM's at the "
        f"same weights; worst error {error:.1e}, rounding explains {allowed:.1e}"
    )
    return 0


def _table(steps: list[ComparedStep]) -> Table:
    """About `ROWS` steps, the first and the last among them."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("step", "fastlstm", "torch", "difference", "error at equal weights", "allowed"):
        table.add_column(column, justify="right")
    stride = max(1, len(steps) // ROWS)
    shown = [step for step in steps[::stride] if step is not steps[-1]]
    for step in [*shown, steps[-1]]:
        table.add_row(
            str(step.step),
            f"{step.ours:.5f}",
            f"{step.theirs:.5f}",
            f"{step.ours - step.theirs:+.1e}",
            f"{step.error:.1e}",
            f"{step.allowed:.1e}",
        )
    return table


def _print_curves(console: Console, steps: list[ComparedStep]) -> None:
    """Both loss curves in one picture."""
    console.print(f"loss in nats over the steps: {OURS} fastlstm  {THEIRS} torch  {BOTH} both")
    for line in draw_curves([step.ours for step in steps], [step.theirs for step in steps]):
        console.print(line)


def _print_speeds(console: Console, steps: list[ComparedStep], config: Config) -> None:
    """Median speed of both: the first steps warm up, and others may be disturbed."""
    tokens = config.batch * config.window
    ours = tokens / median(step.our_seconds for step in steps)
    theirs = tokens / median(step.their_seconds for step in steps)
    console.print(
        f"speed   fastlstm {ours:,.0f} tokens/s, torch {theirs:,.0f} tokens/s: {ours / theirs:.2f}x"
    )
