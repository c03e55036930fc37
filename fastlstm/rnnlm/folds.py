"""K-fold cross-validation: how much a loss depends on which part of a text is held back.

The text is cut into K stretches of equal size. K models are trained from the same seed, each on all
stretches but one, and measured on that one with its last weights.
"""

import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from rich.console import Console
from rich.table import Table

from fastlstm.rnnlm.chunks import Bytes
from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.corpus import Corpus
from fastlstm.rnnlm.dataset import make_dataset, make_streams
from fastlstm.rnnlm.evaluation import Score, evaluate
from fastlstm.rnnlm.guard import keep_good
from fastlstm.rnnlm.model import make_model, set_reset_token
from fastlstm.rnnlm.optimizers import judged_weights
from fastlstm.rnnlm.report import Report, describe, unit
from fastlstm.rnnlm.session import interruption
from fastlstm.rnnlm.split import line_start
from fastlstm.rnnlm.training import start_training, train_steps
from fastlstm.rnnlm.vocabularies import PLURALS


def fold_ranges(data: Bytes, folds: int) -> list[tuple[int, int]]:
    """Byte ranges of the stretches: together the whole text, each beginning at a line.

    ValueError where they would be empty.
    """
    size = len(data) // folds
    starts = [0, *(line_start(data, size * fold, size // 2) for fold in range(1, folds))]
    ranges = list(zip(starts, [*starts[1:], len(data)], strict=True))
    if size == 0 or any(start >= end for start, end in ranges):
        raise ValueError(f"--folds {folds} is too many for a text of {len(data)} bytes")
    return ranges


def cross_validate(
    console: Console,
    corpus: Corpus,
    config: Config,
    folds: int,
    device: torch.device,
    interrupted: Callable[[], bool],
) -> Iterator[Score]:
    """Train and measure a model for each fold; ends early when interrupted.

    RuntimeError when one diverges.
    """
    for number, held_back in enumerate(fold_ranges(corpus.data, folds), 1):
        dataset = make_dataset(corpus, config, split=[held_back])
        model = make_model(len(dataset.vocabulary), config, device)
        set_reset_token(model, dataset.vocabulary)
        training = start_training(model, config)
        keep_good(training)
        streams = make_streams(dataset, config, device)
        total = config.total_steps(config.windows_per_epoch(len(dataset.train.tokens)))
        with Report(console, config.level, total, 0) as report:
            for log in train_steps(training, streams, config, total, interrupted):
                for skip in log.skips:
                    report.skipped(skip, "".join(dataset.vocabulary.decode(skip.tokens)))
                report.training(log)
        if training.step < total:
            return
        with judged_weights(model, training.mean):
            score = evaluate(model, dataset.valid, dataset.vocabulary.start)
        console.print(
            f"fold {number}/{folds}  {len(dataset.train.tokens):,} {PLURALS[config.level]} train, "
            f"{score.tokens:,} valid  {describe(score, config.level)}"
        )
        yield score


def run_folds(
    console: Console, corpus: Corpus, config: Config, folds: int, device: torch.device
) -> bool:
    """Cross-validate and print it; false when interrupted.

    A validation or test text of its own, which a corpus may have, is left aside.
    """
    _check(config)
    corpus = replace(corpus, others={})
    console.print(
        f"corpus  {corpus.origin}, {len(corpus.data):,} bytes, in {folds} stretches, each held "
        "back once"
    )
    with interruption() as interrupted:
        scores = list(cross_validate(console, corpus, config, folds, device, interrupted))
    if len(scores) > 1:
        print_folds(console, scores, config.level)
    return len(scores) == folds


def _check(config: Config) -> None:
    """ValueError where a run hangs on validations or a clock, which folds have not."""
    stalls = config.lr_decay in ("stall", "newbob") or config.average == "stall"
    for option, is_given in (
        ("--lr-decay stall or newbob, --average stall", stalls),
        ("--time-budget", config.time_budget is not None),
    ):
        if is_given:
            raise ValueError(f"--folds trains a fixed number of steps: leave out {option}")


def print_folds(console: Console, scores: list[Score], level: str) -> None:
    """Mean and spread over the folds (standard deviation of a single one, by K - 1)."""
    table = Table(f"{len(scores)} folds", box=None, header_style="bold", pad_edge=False)
    for column in ("mean", "spread", "least", "most"):
        table.add_column(column, justify="right")
    for name, values in (
        ("nats/token", [score.nats for score in scores]),
        ("perplexity", [score.perplexity for score in scores]),
        (unit(level), [score.bits_per_character for score in scores]),
    ):
        numbers = statistics.fmean(values), statistics.stdev(values), min(values), max(values)
        table.add_row(name, *(f"{number:.4f}" for number in numbers))
    console.print(table)
    nats = [score.nats for score in scores]
    error = statistics.stdev(nats) / math.sqrt(len(nats))
    console.print(f"standard error of the mean: {error:.4f} nats; nothing was saved")
