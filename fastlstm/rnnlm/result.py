"""What came of a run: its scores beside the baselines and the known bounds, and samples."""

import itertools
import math

import torch
from rich.console import Console

from fastlstm.rnnlm.baselines import bigram_loss, unigram_loss
from fastlstm.rnnlm.config import GENERATED, Config
from fastlstm.rnnlm.dataset import Dataset, Text
from fastlstm.rnnlm.evaluation import Score, score_of, token_losses
from fastlstm.rnnlm.generation import generate_tokens
from fastlstm.rnnlm.model import RNNLM
from fastlstm.rnnlm.report import describe_unknown, print_scores
from fastlstm.rnnlm.runs import Run
from fastlstm.rnnlm.training import Training
from fastlstm.rnnlm.vocabularies import PLURALS
from fastlstm.rnnlm.writing import write_text
from fastlstm.rnnlm.yardsticks import yardstick_scores

# tokens to write, and of the validation part before them
SAMPLE_LENGTH = {"byte": 300, "char": 300, "word": 60, "bpe": 100, "zh-word": 60}
SAMPLE_PRIME = {"byte": 100, "char": 100, "word": 8, "bpe": 20, "zh-word": 8}
SAMPLE_TEMPERATURES = (0.5, 1.0)


def print_result(console: Console, run: Run, training: Training, dataset: Dataset) -> None:
    """Scores of the best weights beside the baselines, samples, and where the run is."""
    model, level = training.model, run.config.level
    losses = token_losses(model, dataset.valid.tokens, run.vocabulary.start).double()
    score = score_of(losses, dataset.valid)
    scores = floor_scores(dataset) | yardstick_scores(dataset, dataset.valid, "valid")
    scores[f"model, step {training.best_step}"] = score
    print_validation(console, dataset, scores, run.config)
    if dataset.bounds is not None:
        optimum = dataset.bounds.optimal_bits * math.log(2) / score.tokens
        console.print(f"perplexity {100 * math.expm1(score.nats - optimum):+.2f}% off the optimum")
    print_far(console, dataset, losses)
    prime = dataset.valid.tokens[: SAMPLE_PRIME[level]].tolist()
    for temperature in SAMPLE_TEMPERATURES:
        console.print(
            f"--- sample at temperature {temperature}, after the first "
            f"{len(prime)} {PLURALS[level]} of the validation part"
        )
        write_sample(run, model, prime, SAMPLE_LENGTH[level], temperature, run.config.seed)
    console.print(f"--- run saved in {run.path}")


def print_validation(
    console: Console, dataset: Dataset, scores: dict[str, Score], config: Config
) -> None:
    """Scores of the validation part, and what they leave out."""
    print_scores(console, scores, config.level)
    unknown = dataset.valid.unknown
    if unknown:
        console.print(describe_unknown(unknown, config.level))
    if unknown and config.text in GENERATED:
        console.print(f"no optimum is known: {unknown:,} tokens of the validation part are <unk>")


def print_far(console: Console, dataset: Dataset, losses: torch.Tensor) -> None:
    """The cost of what hangs on what lies far behind, where that is known; losses [N] in nats."""
    bounds = dataset.bounds
    if bounds is None or bounds.memoryless_far_bits is None or dataset.is_far is None:
        return
    own = float(losses[dataset.is_far].mean()) / math.log(2)
    count = max(bounds.far_words, 1)
    console.print(
        f"{bounds.far} costs {own:.4f} bits; optimum {bounds.far_bits / count:.4f}, "
        f"memoryless {bounds.memoryless_far_bits / count:.4f}"
    )


def write_sample(
    run: Run, model: RNNLM, prime: list[int], length: int, temperature: float, seed: int
) -> None:
    """Stream a sample to standard output."""
    tokens = generate_tokens(model, prime, run.vocabulary.start, temperature, seed)
    write_text(run.vocabulary, prime, itertools.islice(tokens, length))


def floor_scores(dataset: Dataset, text: Text | None = None) -> dict[str, Score]:
    """Scores to compare a model with: n-gram baselines, and what is known of generated text.

    text: what they are of, by default the validation part.
    """
    bounds = dataset.bounds if text is None else None
    text = text or dataset.valid
    tokens = text.tokens.numpy()
    size, start = len(dataset.vocabulary), dataset.vocabulary.start
    nats = {
        "unigram": unigram_loss(dataset.train.blocks(), tokens, size),
        "bigram": bigram_loss(dataset.train.blocks(), tokens, size, start),
    }
    if bounds is not None:
        per_bit = math.log(2) / len(tokens)
        if bounds.memoryless_bits is not None:
            nats["memoryless bound"] = bounds.memoryless_bits * per_bit
        nats["optimum"] = bounds.optimal_bits * per_bit
    counts = len(tokens), text.characters, text.byte_count
    return {name: Score(loss, *counts) for name, loss in nats.items()}
