"""N-gram baselines: what a model without memory, and one with a memory of one token, reach.

Both are trained on the training part and measured on the validation part, in nats per token. An
RNN that does not beat the bigram has learnt nothing that needs a state.
"""

import numpy as np
import numpy.typing as npt

from fastlstm.rnnlm.vocabulary import Tokens


def unigram_loss(train: Tokens, valid: Tokens, vocabulary_size: int) -> float:
    """Cross entropy of valid under the token frequencies of train, add-one smoothed (Laplace)."""
    return float(-np.log(_unigram(train, vocabulary_size)[valid]).mean())


def bigram_loss(train: Tokens, valid: Tokens, vocabulary_size: int, start: int) -> float:
    """Cross entropy under a bigram model interpolated with the unigram by Witten and Bell's rule.

    p(w | v) = (c(v, w) + n(v) p(w)) / (c(v) + n(v)), with c counts in train and n(v) the number of
    different successors of v (Witten and Bell, 1991, method C; Chen and Goodman, 1998, eq. 17).
    `start` is the token before the first one of either text.
    """
    size = vocabulary_size
    pairs, counts = np.unique(_pairs(train, size, start), return_counts=True)
    previous = pairs // size
    total = np.bincount(previous, weights=counts, minlength=size)
    successors = np.bincount(previous, minlength=size)
    asked = _pairs(valid, size, start)
    at = np.minimum(np.searchsorted(pairs, asked), len(pairs) - 1)
    count = np.where(pairs[at] == asked, counts[at], 0)
    history = asked // size
    backoff = _unigram(train, size)[valid]
    seen = successors[history]
    # a history never seen leaves the unigram alone: 0 + 1 * p over 0 + 1
    weight = np.maximum(seen, 1)
    return float(-np.log((count + weight * backoff) / (total[history] + weight)).mean())


def _unigram(tokens: Tokens, size: int) -> npt.NDArray[np.float64]:
    """Add-one smoothed probability of each token."""
    return (np.bincount(tokens, minlength=size) + 1.0) / (len(tokens) + size)


def _pairs(tokens: Tokens, size: int, start: int) -> npt.NDArray[np.int64]:
    """Each token with the one before it, as one number: previous * size + token."""
    pairs = tokens.astype(np.int64)
    pairs[0] += start * size
    pairs[1:] += tokens[:-1].astype(np.int64) * size
    return pairs
