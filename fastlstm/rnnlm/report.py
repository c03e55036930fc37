"""What a person sees of a run: the header, the progress, the result."""

import signal
import time
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.corpus import Corpus
from fastlstm.rnnlm.dataset import Dataset
from fastlstm.rnnlm.distributed import is_first, processes
from fastlstm.rnnlm.evaluation import Score
from fastlstm.rnnlm.guard import Skip
from fastlstm.rnnlm.training import StepLog
from fastlstm.rnnlm.vocabularies import PLURALS

PLAIN_EVERY = 10.0  # seconds between lines where there is no terminal to draw a bar on


class _Console(Console):
    """Leaves it to the caller what a closed pipe means; rich would end the process."""

    def on_broken_pipe(self) -> None:
        if processes() > 1:  # the others must stop at the same step
            self.quiet = True
            signal.raise_signal(signal.SIGTERM)
            return
        raise BrokenPipeError("nobody reads standard output any more")


def make_console() -> Console:
    """Standard output, which never interprets or wraps what it is given; of the first process."""
    return _Console(highlight=False, markup=False, soft_wrap=True, quiet=not is_first())


def unit(level: str) -> str:
    """The name of bits per character at a level."""
    return "bits/byte" if level == "byte" else "bits/char"


def describe(score: Score, level: str) -> str:
    """A score in the usual units."""
    shown = (
        f"{score.nats:.4f} nats  perplexity {score.perplexity:.4g}  "
        f"{score.bits_per_character:.4f} {unit(level)}"
    )
    per_byte = score.bits_per_byte
    return shown if level == "byte" or per_byte is None else f"{shown}  {per_byte:.4f} bits/byte"


def describe_unknown(unknown: int, level: str) -> str:
    """What the score of a text with `<unk>` tokens leaves out."""
    return (
        f"{unit(level)} is a lower bound: the spelling of {unknown:,} <unk> tokens is not counted"
    )


def print_header(
    console: Console, corpus: Corpus, dataset: Dataset, config: Config, parameters: int
) -> None:
    """What is about to be trained, on what."""
    per_epoch = config.windows_per_epoch(len(dataset.train.tokens))
    steps = config.total_steps(per_epoch)
    who = "torch" if config.implementation == "torch" or config.cell != "lstm" else "fastlstm"
    train, valid = dataset.train, dataset.valid
    console.print(f"corpus  {corpus.origin}, {corpus.size:,} bytes")
    console.print(f"        sha256 {corpus.sha256}")
    console.print(
        f"split   {_split_text(dataset)}; "
        f"{len(train.tokens):,} {PLURALS[config.level]} train, {len(valid.tokens):,} valid"
    )
    console.print(
        f"tokens  {config.level} level, {len(dataset.vocabulary):,} different ones; "
        f"{valid.unknown:,} of validation not in the vocabulary"
    )
    console.print(
        f"model   {config.cell} {config.layers}x{config.hidden}, embedding "
        f"{config.embedding_size or 'none'}, {parameters:,} parameters, layer of {who}"
    )
    together = f", in {processes()} processes" if processes() > 1 else ""
    console.print(
        f"run     {steps:,} steps of {config.batch} x {config.window} tokens = "
        f"{steps / per_epoch:.2f} epochs, {config.optimizer}, lr {config.lr:g} ({config.lr_decay})"
        f"{together}"
    )


def _split_text(dataset: Dataset) -> str:
    """Where the validation part lies in the text."""
    if not dataset.split:
        return "as the text comes, in parts"
    if len(dataset.split) == 1:
        return f"tail: the text from byte {dataset.split[0][0]:,} on is for validation"
    pieces = len(dataset.split)
    return f"tails: the end of each of {pieces} equal stretches of the text is for validation"


def print_scores(
    console: Console, scores: dict[str, Score], level: str, title: str = "validation part"
) -> None:
    """A table of scores of a text, all in the same units."""
    table = Table(title, box=None, header_style="bold", pad_edge=False)
    per_byte = level != "byte" and all(score.byte_count for score in scores.values())
    for column in ("nats/token", "perplexity", unit(level), *["bits/byte"] * per_byte):
        table.add_column(column, justify="right")
    for name, score in scores.items():
        values = [score.nats, score.perplexity, score.bits_per_character]
        if per_byte and score.bits_per_byte is not None:
            values.append(score.bits_per_byte)
        table.add_row(name, *(f"{value:.4f}" for value in values))
    console.print(table)


@dataclass
class Report:
    """Progress of a run: a bar on a terminal, a line now and then elsewhere."""

    console: Console
    level: str
    total_steps: int
    step: int

    def __post_init__(self) -> None:
        self._progress = Progress(
            BarColumn(),
            TextColumn("{task.completed}/{task.total} steps  {task.description}"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal or self.console.quiet,
            transient=True,
        )
        self._task = self._progress.add_task("", total=self.total_steps, completed=self.step)
        self._shown = time.monotonic()

    def __enter__(self) -> "Report":
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def training(self, log: StepLog) -> None:
        """Show the last few steps."""
        text = (
            f"loss {log.loss:.4f}  norm {log.grad_norm:.2f}  lr {log.lr:.2e}  "
            f"{log.tokens_per_second:,.0f} tokens/s"
        )
        self._progress.update(self._task, completed=log.step, description=text)
        if not self.console.is_terminal and time.monotonic() - self._shown > PLAIN_EVERY:
            self.console.print(f"step {log.step:>6}/{self.total_steps}  {text}")
            self._shown = time.monotonic()

    def skipped(self, skip: Skip, text: str) -> None:
        """Say which window was left out, and why."""
        self.console.print(
            f"step {skip.step:>6}/{self.total_steps}  skipped: {skip.reason}; training text from "
            f"token {skip.begin:,} on: {text!r}"
        )
        if skip.returned is not None:
            self.console.print(
                f"        back to the weights of step {skip.returned}, at half the rate"
            )

    def returned(self, step: int, loss: float, good: int) -> None:
        """Say that a validation found the weights spoilt."""
        self.console.print(
            f"step {step:>6}/{self.total_steps}  validation loss {loss:.4g}: "
            f"back to the weights of step {good}, at half the rate"
        )

    def validation(self, log: StepLog, score: Score, best: bool) -> None:
        """Show a validation, with the training loss beside it."""
        mark = "  best" if best else ""
        self.console.print(
            f"step {log.step:>6}/{self.total_steps}  epoch {log.epoch:.2f}  train {log.loss:.4f}  "
            f"valid {describe(score, self.level)}  {log.tokens_per_second:,.0f} tokens/s{mark}"
        )
        self._shown = time.monotonic()
