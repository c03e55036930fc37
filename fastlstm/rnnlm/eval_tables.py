"""What `fastlstm eval` shows beside the score of a model."""

import math
from typing import TextIO

from rich.console import Console
from rich.table import Table
from torch import Tensor

from fastlstm.rnnlm.commands import dataset_of
from fastlstm.rnnlm.context_curve import (
    N_GRAMS,
    context_loss,
    curve_lengths,
    curve_targets,
    n_gram_loss,
)
from fastlstm.rnnlm.dataset import Text
from fastlstm.rnnlm.evaluation import Score
from fastlstm.rnnlm.model import RNNLM
from fastlstm.rnnlm.report import print_scores
from fastlstm.rnnlm.result import floor_scores
from fastlstm.rnnlm.runs import Run
from fastlstm.rnnlm.vocabulary import Vocabulary
from fastlstm.rnnlm.yardsticks import last_tokens, yardstick_scores


def print_baselines(
    console: Console, run: Run, data: bytes | str, origin: str, text: Text, score: Score
) -> None:
    """Scores of simpler models of the training part beside the model's.

    data: the text's bytes, or which part of the run's own text it is.
    """
    dataset = dataset_of(run)
    scores = floor_scores(dataset, None if data == "valid" else text)
    scores |= yardstick_scores(dataset, text, data) | {"model": score}
    print_scores(console, scores, run.config.level, origin)


def print_context(
    console: Console,
    run: Run,
    model: RNNLM,
    text: Text,
    losses: Tensor,
    most: int,
    n_grams: bool,
) -> None:
    """Loss against context length; losses [N] are those of the whole text before each token."""
    start = run.vocabulary.start
    targets = curve_targets(len(text.tokens), most)
    table = Table("tokens before", box=None, header_style="bold", pad_edge=False)
    names = ["nats", "perplexity", *["n-gram nats"] * n_grams]
    for column in names:
        table.add_column(column, justify="right")
    train = last_tokens(dataset_of(run).train) if n_grams else None
    for length in curve_lengths(most):
        nats = context_loss(model, text.tokens, start, targets, length)
        row = [str(length), f"{nats:.4f}", f"{math.exp(min(nats, 700)):.4g}"]
        if train is not None and length < N_GRAMS:
            sizes = len(run.vocabulary), start
            row.append(f"{n_gram_loss(train, text.tokens, *sizes, targets, length):.4f}")
        table.add_row(*row)
    whole = float(losses.double()[targets].mean())
    table.add_row("all", f"{whole:.4f}", f"{math.exp(min(whole, 700)):.4g}")
    console.print(f"{len(targets):,} tokens, each predicted from the last few tokens alone")
    console.print(table)


def write_scores(file: TextIO, vocabulary: Vocabulary, text: Text, losses: Tensor) -> None:
    """A line for each token: place from 0, token, nats, bits; a header first."""
    file.write("place\ttoken\tnats\tbits\n")
    shown: dict[int, str] = {}
    pairs = zip(text.tokens.tolist(), losses.tolist(), strict=True)
    for place, (token, nats) in enumerate(pairs):
        if token not in shown:
            shown[token] = _show(vocabulary, token)
        file.write(f"{place}\t{shown[token]}\t{nats:.6f}\t{nats / math.log(2):.6f}\n")


def _show(vocabulary: Vocabulary, token: int) -> str:
    """A token on one line without tabs: `\\n`, `\\t`, and `\\xe6` for a byte that is no ASCII."""
    if vocabulary.level == "byte":
        return repr(bytes([token]))[2:-1]
    text = "".join(vocabulary.decode([token]))
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
