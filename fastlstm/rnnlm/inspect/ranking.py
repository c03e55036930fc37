"""Which units track a feature: mutual information between what they remember and the feature."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

BINS = 8
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Ranked:
    """A unit and how well it tracks a feature, on text it was not chosen by.

    share: mutual information as a part of the feature's entropy, 0..1.
    correlation: Pearson's, -1..1.
    """

    layer: int
    unit: int
    share: float
    correlation: float


def rank_units(memory: Tensor, feature: Numbers, count: int) -> list[Ranked]:
    """The `count` units that track a feature [N] best, of memory [L, N, H].

    They are chosen and put in order by the first half of the text; their numbers are the second
    half's, so that the best of many is not praised for its luck. None where a half of the feature
    is all the same.
    """
    layers, tokens, hidden = memory.shape
    half = tokens // 2
    units = memory.transpose(1, 2).reshape(layers * hidden, tokens).double().numpy()
    first, second = feature[:half], feature[half:]
    if entropy(classes(first)) == 0 or entropy(classes(second)) == 0:
        return []
    scores = [information_share(unit[:half], first) for unit in units]
    best = np.argsort(scores, kind="stable")[::-1][:count]
    return [
        Ranked(
            int(at) // hidden,
            int(at) % hidden,
            information_share(units[at, half:], second),
            correlation(units[at, half:], second),
        )
        for at in best
    ]


def information_share(unit: npt.NDArray[np.float64], feature: Numbers) -> float:
    """I(unit; feature) / H(feature), of values in equally full bins, at least 0.

    Corrected for the chance agreement of so many cells in so short a text (Miller, 1955).
    """
    a, b = classes(unit), classes(feature)
    joint = a * (b.max() + 1) + b
    cells = (len(np.unique(a)) - 1) * (len(np.unique(b)) - 1)
    mutual = entropy(a) + entropy(b) - entropy(joint) - cells / (2 * len(a) * np.log(2))
    return max(0.0, float(mutual / entropy(b)))


def classes(values: npt.NDArray[np.generic]) -> Numbers:
    """Values as class numbers: each its own if they are few, else in `BINS` equally full bins."""
    different, present = np.unique(values, return_inverse=True)
    if len(different) <= BINS:
        found: Numbers = present.astype(np.int64)
        return found
    numbers = values.astype(np.float64)
    edges = np.unique(np.quantile(numbers, np.arange(1, BINS) / BINS))
    found = np.searchsorted(edges, numbers, side="right").astype(np.int64)
    return found


def entropy(numbers: Numbers) -> float:
    """Of the frequencies of class numbers, in bits."""
    shares = np.bincount(numbers) / len(numbers)
    shares = shares[shares > 0]
    return float(-(shares * np.log2(shares)).sum()) if len(shares) > 1 else 0.0


def correlation(unit: npt.NDArray[np.float64], feature: Numbers) -> float:
    """Pearson's, 0 for a unit that never moves."""
    a, b = unit - unit.mean(), feature - feature.mean()
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / scale if scale > 0 else 0.0
