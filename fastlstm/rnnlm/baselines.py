"""N-gram baselines: what a model without memory, and one with a memory of one token, reach.

Both are trained on the training part and measured on the validation part, in nats per token. An
RNN that does not beat the bigram has learnt nothing that needs a state.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.rnnlm.vocabulary import Tokens

DENSE_MOST = 2**20  # pairs that are counted in a table of all of them


def unigram_loss(train: Iterable[Tokens], valid: Tokens, vocabulary_size: int) -> float:
    """Cross entropy of valid under the token frequencies of train, add-one smoothed (Laplace).

    train: the tokens, in blocks.
    """
    counts = np.zeros(vocabulary_size, dtype=np.int64)
    for block in train:
        counts += np.bincount(block, minlength=vocabulary_size)
    return float(-np.log(_unigram(counts)[valid]).mean())


def bigram_loss(train: Iterable[Tokens], valid: Tokens, vocabulary_size: int, start: int) -> float:
    """Cross entropy under a bigram model interpolated with the unigram by Witten and Bell's rule.

    p(w | v) = (c(v, w) + n(v) p(w)) / (c(v) + n(v)), with c counts in train and n(v) the number of
    different successors of v (Witten and Bell, 1991, method C; Chen and Goodman, 1998, eq. 17).
    `start` is the token before the first one of either text.
    """
    size = vocabulary_size
    pairs, counts = _count_pairs(train, size, start)
    previous = pairs // size
    total = np.bincount(previous, weights=counts, minlength=size)
    successors = np.bincount(previous, minlength=size)
    unigram = _unigram(np.bincount(pairs % size, weights=counts, minlength=size))
    asked = _pairs(valid, size, start)
    at = np.minimum(np.searchsorted(pairs, asked), len(pairs) - 1)
    count = np.where(pairs[at] == asked, counts[at], 0)
    history = asked // size
    seen = successors[history]
    # a history never seen leaves the unigram alone: 0 + 1 * p over 0 + 1
    weight = np.maximum(seen, 1)
    smoothed = (count + weight * unigram[valid]) / (total[history] + weight)
    return float(-np.log(smoothed).mean())


def _unigram(counts: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Add-one smoothed probability of each token."""
    smoothed: npt.NDArray[np.float64] = (counts + 1.0) / (counts.sum() + len(counts))
    return smoothed


def _count_pairs(
    train: Iterable[Tokens], size: int, start: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The different pairs of a text in blocks, ascending, and how often each comes."""
    if size * size <= DENSE_MOST:
        dense = np.zeros(size * size, dtype=np.int64)
        for block in train:
            dense += np.bincount(_pairs(block, size, start), minlength=size * size)
            start = int(block[-1])
        pairs = np.flatnonzero(dense)
        return pairs, dense[pairs]
    pairs = counts = np.zeros(0, dtype=np.int64)
    for block in train:
        new, times = np.unique(_pairs(block, size, start), return_counts=True)
        start = int(block[-1])
        pairs, place = np.unique(np.concatenate([pairs, new]), return_inverse=True)
        counts = np.bincount(place, weights=np.concatenate([counts, times])).astype(np.int64)
    return pairs, counts


def _pairs(tokens: Tokens, size: int, start: int) -> npt.NDArray[np.int64]:
    """Each token with the one before it, as one number: previous * size + token."""
    pairs = tokens.astype(np.int64)
    pairs[0] += start * size
    pairs[1:] += tokens[:-1].astype(np.int64) * size
    return pairs
