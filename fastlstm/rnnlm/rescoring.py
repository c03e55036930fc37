"""Rescoring of n-best lists: texts that another system offers, ordered by what a model thinks.

T time, B batch, V vocabulary size.
"""

import math
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from fastlstm.rnnlm.evaluation import LOGITS_MOST
from fastlstm.rnnlm.model import RNNLM
from fastlstm.rnnlm.vocabulary import Vocabulary

BATCH = 32  # at most


@dataclass(frozen=True)
class Candidate:
    """A text of an n-best list, and the score that came with it."""

    text: str
    score: float | None


def read_candidates(data: str) -> list[list[Candidate]]:
    """The lists of a file: a text in each line, or `score<TAB>text`; empty lines part lists."""
    lists: list[list[Candidate]] = [[]]
    for line in data.split("\n"):
        if line.strip():
            lists[-1].append(_candidate(line))
        elif lists[-1]:
            lists.append([])
    return [own for own in lists if own]


def _candidate(line: str) -> Candidate:
    number, tab, text = line.partition("\t")
    try:
        score = float(number) if tab else math.nan
    except ValueError:
        score = math.nan
    return Candidate(text, score) if math.isfinite(score) else Candidate(line, None)


def log_probabilities(model: RNNLM, vocabulary: Vocabulary, texts: list[str]) -> list[float]:
    """ln p of each text as a line: after a line end, and its own line end included."""
    encoded = [torch.from_numpy(vocabulary.encode(f"{text}\n".encode())).long() for text in texts]
    shortest_first = sorted(range(len(texts)), key=lambda index: len(encoded[index]))
    found = [0.0] * len(texts)
    while shortest_first:
        longest = len(encoded[shortest_first[-1]])
        most = max(1, min(BATCH, LOGITS_MOST // (longest * len(vocabulary))))
        batch, shortest_first = shortest_first[-most:], shortest_first[:-most]
        scores = _score_batch(model, [encoded[index] for index in batch], vocabulary.start)
        for index, score in zip(batch, scores, strict=True):
            found[index] = score
    return found


@torch.no_grad()
def _score_batch(model: RNNLM, texts: list[torch.Tensor], start: int) -> list[float]:
    """What stands after the end of a shorter text is read, but not counted."""
    model.eval()
    device = model.decoder.weight.device
    targets = torch.nn.utils.rnn.pad_sequence(texts, padding_value=-1).to(device)  # [T, B]
    first = torch.full_like(targets[:1], start)
    inputs = torch.cat([first, targets[:-1].clamp(min=0)])
    logits, _ = model(inputs, model.initial_state(len(texts)))
    losses = F.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=-1, reduction="none"
    )
    totals: list[float] = (-losses.view(targets.shape).double().sum(0)).tolist()
    return totals


def rescore(
    model: RNNLM, vocabulary: Vocabulary, candidates: list[Candidate], weight: float
) -> list[tuple[float, float, Candidate]]:
    """(total, ln p, candidate) of a list, the best first; total = score + weight * ln p."""
    found = log_probabilities(model, vocabulary, [candidate.text for candidate in candidates])
    rows = [
        ((candidate.score or 0.0) + weight * nats, nats, candidate)
        for nats, candidate in zip(found, candidates, strict=True)
    ]
    return sorted(rows, key=lambda row: -row[0])
