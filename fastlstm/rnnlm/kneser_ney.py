"""Interpolated modified Kneser-Ney: the best n-gram model, which sees a fixed window of tokens.

Chen and Goodman (1998), section 3. For the n-gram h w with the context h, and h' the context
without its first token:

    p(w | h) = (c(h w) - D(c(h w)) + mass(h) p(w | h')) / c(h)
    c(h) = sum of c(h w) over w,  mass(h) = sum of D(c(h w)) over w

c(h w) is the count in the training text at the highest order; below it the number of different
tokens that stand before h w there (the continuation count). D takes three values, for counts of 1,
2, and 3 or more, from n_r, the number of n-grams of the order whose count is r:

    Y = n_1 / (n_1 + 2 n_2),  D_r = r - (r + 1) Y n_(r+1) / n_r

The unigrams are interpolated with 1 / V, so that every token has a probability. A context that was
never seen leaves p(w | h').
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastlstm.rnnlm.vocabulary import Tokens

ORDER = 5
BLOCK = 2**20  # tokens that are scored at a time
# where counts of counts say nothing, as in tiny texts and among the bytes; KenLM's choice
FALLBACK = (0.0, 0.5, 1.0, 1.5)

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Order:
    """The n-grams of one order.

    keys: sorted; context * V + token, where a context is the place of its n-gram one order below.
    counts: c of each.
    discounts: D(0) to D(3).
    totals, masses: c(h) and mass(h) of each context.
    """

    keys: Integers
    counts: Integers
    discounts: Floats
    totals: Floats
    masses: Floats


class KneserNey:
    """An n-gram model of a training text that follows the token `start`.

    train: [N]; size: V, the tokens of the vocabulary; order: n.
    """

    def __init__(self, train: Tokens, size: int, start: int, order: int = ORDER) -> None:
        self._size, self._start, self._order = size, start, order
        text = self._pad(train)
        keys, suffixes = [np.arange(size)], []
        raw = [np.bincount(text[order - 1 :], minlength=size)]
        places = text  # of the k-gram that ends at each token
        for k in range(2, order + 1):
            found, longer = _number(places[:-1] * size + text[k - 1 :])
            suffix = np.empty(len(found), np.int64)
            suffix[longer] = places[1:]
            keys.append(found)
            suffixes.append(suffix)
            places = longer
            # those that end in what is put before the text are contexts, but do not count
            raw.append(np.bincount(places[order - k :], minlength=len(found)))
        counts = [
            np.bincount(suffix[above > 0], minlength=len(below))
            for suffix, above, below in zip(suffixes, raw[1:], raw, strict=False)
        ]
        contexts = [1, *map(len, keys)]
        self._orders = [
            self._make_order(*parts)
            for parts in zip(keys, [*counts, raw[-1]], contexts, strict=False)
        ]

    def losses(self, tokens: Tokens) -> Floats:
        """-ln p of each of the tokens [N] of a text that follows `start`."""
        text = self._pad(tokens)
        chance = np.full(len(tokens), 1 / self._size)
        places = np.zeros(len(text) + 1, np.int64)  # the empty context
        for k, order in enumerate(self._orders, 1):
            context = places[:-1]
            wanted = context * self._size + text[k - 1 :]
            at = np.minimum(np.searchsorted(order.keys, wanted), len(order.keys) - 1)
            known = (order.keys[at] == wanted) & (context >= 0)
            places = np.where(known, at, -1)
            last = slice(len(wanted) - len(tokens), None)  # the rest ends before the text
            count = np.where(known, order.counts[at], 0)[last]
            total = np.where(context >= 0, order.totals[context], 0)[last]
            mass = order.masses[context][last]
            own = count - order.discounts[np.minimum(count, 3)]
            seen = total > 0
            chance[seen] = (own + mass * chance)[seen] / total[seen]
        losses: Floats = -np.log(chance)
        return losses

    def _pad(self, tokens: Tokens) -> Integers:
        """The tokens after as many `start` as the longest context holds."""
        before = np.full(self._order - 1, self._start, np.int64)
        return np.concatenate([before, tokens.astype(np.int64)])

    def _make_order(self, keys: Integers, counts: Integers, contexts: int) -> _Order:
        context = keys // self._size
        discounts = _discounts(counts)
        totals = np.bincount(context, weights=counts, minlength=contexts).astype(np.float64)
        given = discounts[np.minimum(counts, 3)]
        masses = np.bincount(context, weights=given, minlength=contexts).astype(np.float64)
        return _Order(keys, counts, discounts, totals, masses)


def _number(keys: Integers) -> tuple[Integers, Integers]:
    """The different keys, sorted, and the place of each key among them (np.unique, but faster)."""
    order = np.argsort(keys)
    ranked = keys[order]
    first = np.concatenate([[True], ranked[1:] != ranked[:-1]])
    places = np.empty(len(keys), np.int64)
    places[order] = np.cumsum(first) - 1
    return ranked[first], places


def _discounts(counts: Integers) -> Floats:
    """D(0) to D(3) of an order with these counts."""
    n1, n2, n3, n4 = (int((counts == r).sum()) for r in (1, 2, 3, 4))
    if 0 in (n1, n2, n3):
        return np.array(FALLBACK)
    y = n1 / (n1 + 2 * n2)
    discounts = np.array([0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
    return discounts if (discounts >= 0).all() else np.array(FALLBACK)


def kneser_ney_loss(
    train: Tokens, valid: Tokens, size: int, start: int, order: int = ORDER
) -> float:
    """Cross entropy of valid in nats per token; both texts follow the token `start`."""
    model, total = KneserNey(train, size, start, order), 0.0
    for begin in range(0, len(valid), BLOCK):
        before = min(begin, order - 1)  # tokens of context
        losses = model.losses(valid[begin - before : begin + BLOCK])
        total += float(losses[before:].sum())
    return total / len(valid)
