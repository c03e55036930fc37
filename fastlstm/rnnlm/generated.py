"""Texts of exactly known entropy: what they have in common.

The true probability of each word given all words before it is known while it is drawn. The sum of
their -log2 is the source's code length, called the optimum here: no model pays less in expectation
(Shannon, 1948), though on a given text one may by luck.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Generated:
    """A generated text and the true cost of each of its words.

    text: words parted by one blank, each line ended by a newline.
    bits: float64 [N], -log2 of the true probability of each word; N counts line ends as words.
    forgetful_bits: float64 [N], the same for a model that knows the source but has forgotten what
        lies far behind; None where that is not known.
    is_far: bool [N], marks the words that hang on it, which are called `far`.
    """

    origin: str
    text: str
    bits: npt.NDArray[np.float64]
    forgetful_bits: npt.NDArray[np.float64] | None
    is_far: npt.NDArray[np.bool_]
    far: str

    def bounds(self, words: npt.NDArray[np.bool_]) -> "Bounds":
        """The costs of a part of the text; `words` [N] marks its words."""
        far = words & self.is_far
        forgetful = self.forgetful_bits
        return Bounds(
            words=int(words.sum()),
            optimal_bits=float(self.bits[words].sum()),
            memoryless_bits=None if forgetful is None else float(forgetful[words].sum()),
            far=self.far,
            far_words=int(far.sum()),
            far_bits=float(self.bits[far].sum()),
            memoryless_far_bits=None if forgetful is None else float(forgetful[far].sum()),
        )


@dataclass(frozen=True)
class Bounds:
    """What the source itself, and the source without its memory, pay for a text.

    All costs are sums over the text, in bits; `far_words` of the words are `far`.
    """

    words: int
    optimal_bits: float
    memoryless_bits: float | None
    far: str
    far_words: int
    far_bits: float
    memoryless_far_bits: float | None

    @property
    def optimal_perplexity(self) -> float:
        """Perplexity per word of the model that knows the source."""
        return float(2 ** (self.optimal_bits / self.words))

    @property
    def memoryless_perplexity(self) -> float | None:
        """Perplexity per word of the model that knows all but what lies far behind."""
        bits = self.memoryless_bits
        return None if bits is None else float(2 ** (bits / self.words))


def lines_of(words: list[str]) -> str:
    """The text of words, among which "\\n" ends a line."""
    return " ".join(words).replace(" \n ", "\n").removesuffix(" \n") + "\n"
