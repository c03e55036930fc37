"""A text of exactly known entropy and a memory of exactly k symbols: a Markov chain of order k.

After each context, the k symbols before it (line ends not counted), the next symbol is drawn from a
distribution that is always the same but for which symbol has which share; that is drawn once for
each context. So the chain costs the same everywhere, the entropy of SHARES, while what is shorter
than the context says little. A line ends after each symbol with probability END, whatever it was.
"""

import random
from math import log2

import numpy as np

from fastlstm.rnnlm.generated import Generated, lines_of

ALPHABET = "abcdefghijklmnopqrstuvwxyz"
END = 1 / 32


def generate_markov(symbols: int, order: int, alphabet: int, seed: int = 0) -> Generated:
    """Draw `symbols` symbols, among `alphabet` different ones, from a chain of order `order`.

    The same arguments give the same text on every Python, as in `generate_france`.
    """
    rng, tables = random.Random(seed), random.Random(seed + 1)
    probabilities = shares(alphabet)
    costs = [-log2(share) for share in probabilities]
    ranked: dict[str, str] = {}
    words: list[str] = []
    bits: list[float] = []
    context = ALPHABET[0] * order
    line_start = True
    for count in range(symbols):
        if context not in ranked:
            ranked[context] = _shuffle(ALPHABET[:alphabet], tables)
        rank = _draw(probabilities, rng)
        symbol = ranked[context][rank]
        words.append(symbol)
        bits.append(costs[rank] - (0.0 if line_start else log2(1 - END)))
        context = (context + symbol)[1:]
        line_start = rng.random() < END or count == symbols - 1
        if line_start:
            words.append("\n")
            bits.append(-log2(END))
    origin = f"markov, {symbols} symbols of a chain of order {order} over {alphabet}"
    nothing_far = np.zeros(len(words), dtype=np.bool_)
    return Generated(origin, lines_of(words), np.array(bits), None, nothing_far, "")


def shares(alphabet: int) -> list[float]:
    """Probabilities of the most likely symbol, of the next one and so on: each half as likely."""
    return [2.0**-rank / (2 - 2.0 ** (1 - alphabet)) for rank in range(alphabet)]


def _draw(probabilities: list[float], rng: random.Random) -> int:
    """A rank."""
    left = rng.random()
    for rank, share in enumerate(probabilities):
        left -= share
        if left < 0:
            return rank
    return len(probabilities) - 1


def _shuffle(letters: str, rng: random.Random) -> str:
    """The letters in any order (Fisher and Yates)."""
    order = list(letters)
    for last in range(len(order) - 1, 0, -1):
        other = int(rng.random() * (last + 1))
        order[last], order[other] = order[other], order[last]
    return "".join(order)
