"""A text of exactly known entropy that needs a stack: balanced brackets of several kinds (Dyck).

A line is one balanced expression. Within it, a bracket opens with probability OPEN, of a kind that
is uniform over n, and closes otherwise, as the kind that was opened last and is still open; at the
greatest depth it must close, and at depth 0 the line ends. Which of the n brackets closes hangs on
a bracket that may lie far behind: a model that counts the depth but has forgotten all kinds pays
log2 n more there, the memoryless bound. A bigram may pay less: it sees the bracket just before.
"""

import random
from math import log2

import numpy as np

from fastlstm.rnnlm.generated import Generated, lines_of

PAIRS = ("()", "[]", "{}", "<>", "«»", "「」", "『』", "【】")
OPEN = 0.5


def generate_dyck(symbols: int, kinds: int, depth: int, seed: int = 0) -> Generated:
    """Draw lines of brackets of `kinds` kinds, at most `depth` deep, until `symbols` are there.

    The same arguments give the same text on every Python, as in `generate_france`.
    """
    rng = random.Random(seed)
    words: list[str] = []
    costs: list[float] = []
    closing: list[int] = []
    brackets = 0
    while brackets < symbols:
        first = len(words)
        _draw_line(rng, kinds, depth, words, costs, closing)
        brackets += len(words) - first - 1
    is_far = np.zeros(len(words), dtype=np.bool_)
    is_far[closing] = True
    origin = f"dyck, {brackets} brackets of {kinds} kinds at most {depth} deep"
    bits = np.array(costs)
    forgetful = bits + log2(kinds) * is_far
    return Generated(origin, lines_of(words), bits, forgetful, is_far, "a closing bracket")


def _draw_line(
    rng: random.Random,
    kinds: int,
    depth: int,
    words: list[str],
    bits: list[float],
    closing: list[int],
) -> None:
    """Append one line, its costs, and where its closing brackets are."""
    stack: list[int] = []
    while True:
        sure = len(stack) in (0, depth)
        choice = 0.0 if sure else 1.0  # what it costs that it opens, or that it closes
        if not stack or (not sure and rng.random() < OPEN):
            kind = int(rng.random() * kinds)
            stack.append(kind)
            words.append(PAIRS[kind][0])
            bits.append(choice + log2(kinds))
            continue
        closing.append(len(words))
        words.append(PAIRS[stack.pop()][1])
        bits.append(choice)
        if not stack:
            words.append("\n")
            bits.append(0.0)
            return
