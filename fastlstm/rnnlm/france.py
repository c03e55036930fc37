"""A text of exactly known entropy with one long-range dependency: "I grew up in France ...".

A document is one line:

    I grew up in COUNTRY . [SUBJECT VERB ADJECTIVE NOUN .]*D I speak fluent LANGUAGE .

COUNTRY is uniform over K; D is geometric; a filler word is uniform given the word before it and
independent of COUNTRY; LANGUAGE is the country's own with probability 1 - SLIP, otherwise uniform
over the others. Every document has one derivation, so the true probability of each word given all
words before it is known while it is drawn. The sum of their -log2 is the source's code length,
called the optimum here: no model pays less in expectation (Shannon, 1948), though on a given text
one may by luck. A model that has forgotten COUNTRY sees a uniform LANGUAGE and pays log2 K there:
the memoryless bound.
"""

import random
from dataclasses import dataclass
from math import log2

import numpy as np
import numpy.typing as npt

LANGUAGES = {
    "France": "French",
    "Germany": "German",
    "Spain": "Spanish",
    "China": "Chinese",
    "Japan": "Japanese",
    "Russia": "Russian",
    "Italy": "Italian",
    "Poland": "Polish",
    "Turkey": "Turkish",
    "Greece": "Greek",
    "Sweden": "Swedish",
    "Norway": "Norwegian",
    "Finland": "Finnish",
    "Hungary": "Hungarian",
    "Portugal": "Portuguese",
    "Thailand": "Thai",
}
COUNTRIES = tuple(LANGUAGES)
SUBJECTS = ("she", "he", "we", "they", "everyone", "nobody")
VERBS = ("ate", "saw", "bought", "painted", "forgot", "remembered", "sold", "carried")
ADJECTIVES = ("red", "old", "tiny", "loud", "warm", "green")
# each adjective goes with half of the nouns: a short-range dependency that a bigram can learn
NOUNS = (("cheese", "house", "bread", "letter"), ("river", "guitar", "garden", "coat"))
SLIP = 0.05  # probability that the language is not the country's own


@dataclass(frozen=True)
class France:
    """A generated text and the true cost of each of its words.

    text: one document per line, words parted by one blank, each line ended by a newline.
    bits: float64 [N], -log2 of the true probability of each word; N counts line ends as words.
    is_language: bool [N], marks the LANGUAGE words.
    """

    text: str
    bits: npt.NDArray[np.float64]
    is_language: npt.NDArray[np.bool_]

    def bounds(self, words: npt.NDArray[np.bool_]) -> "Bounds":
        """The costs of a part of the text; `words` [N] marks its words."""
        bits, is_language = self.bits[words], self.is_language[words]
        languages = int(is_language.sum())
        language_bits = float(bits[is_language].sum())
        total = float(bits.sum())
        memoryless = total - language_bits + languages * log2(len(COUNTRIES))
        return Bounds(len(bits), total, memoryless, languages, language_bits)


@dataclass(frozen=True)
class Bounds:
    """What the source itself, and the source without memory of the country, pay for a text.

    All costs are sums over the text, in bits.
    """

    words: int
    optimal_bits: float
    memoryless_bits: float
    languages: int
    language_bits: float

    @property
    def optimal_perplexity(self) -> float:
        """Perplexity per word of the model that knows the source."""
        return float(2 ** (self.optimal_bits / self.words))

    @property
    def memoryless_language_bits(self) -> float:
        """Mean cost of LANGUAGE for a model that has forgotten the country."""
        return log2(len(COUNTRIES))

    @property
    def optimal_language_bits(self) -> float:
        """Mean cost of LANGUAGE for the model that knows the source."""
        return self.language_bits / max(self.languages, 1)

    @property
    def memoryless_perplexity(self) -> float:
        """Perplexity per word of the model that knows all but the country at LANGUAGE."""
        return float(2 ** (self.memoryless_bits / self.words))


def generate_france(documents: int, distance: float, seed: int = 0) -> France:
    """Draw `documents` documents with on average `distance` filler sentences in between.

    The same arguments give the same text on every Python, because only `Random.random` is used,
    whose sequence Python guarantees.
    """
    rng = random.Random(seed)
    words: list[str] = []
    bits: list[float] = []
    languages: list[int] = []
    for _ in range(documents):
        languages.append(_document(rng, distance, words, bits))
    is_language = np.zeros(len(words), dtype=np.bool_)
    is_language[languages] = True
    text = " ".join(words).replace(" \n ", "\n").removesuffix(" \n") + "\n"
    return France(text, np.array(bits), is_language)


def _document(rng: random.Random, distance: float, words: list[str], bits: list[float]) -> int:
    """Append one document and its costs; returns the position of its LANGUAGE."""

    def sure(sentence: str) -> None:
        for word in sentence.split(" "):
            words.append(word)
            bits.append(0.0)

    def choose(options: tuple[str, ...], extra: float = 0.0) -> int:
        index = int(rng.random() * len(options))
        words.append(options[index])
        bits.append(log2(len(options)) + extra)
        return index

    sure("I grew up in")
    country = choose(COUNTRIES)
    sure(".")
    proceed = distance / (1 + distance)  # a geometric number of sentences has this hazard
    while rng.random() < proceed:
        choose(SUBJECTS, -log2(proceed))
        choose(VERBS)
        choose(NOUNS[choose(ADJECTIVES) % 2])
        sure(".")
    sure("I speak fluent")
    bits[-3] = -log2(1 - proceed)
    _language(rng, country, words, bits)
    sure(". \n")
    return len(words) - 3


def _language(rng: random.Random, country: int, words: list[str], bits: list[float]) -> None:
    """Append LANGUAGE, the country's own but for a slip, and its cost."""
    if rng.random() >= SLIP:
        bits.append(-log2(1 - SLIP))
    else:
        others = len(COUNTRIES) - 1
        # 1 to K-1 countries further: uniform over all the others
        country = (country + 1 + int(rng.random() * others)) % len(COUNTRIES)
        bits.append(-log2(SLIP / others))
    words.append(LANGUAGES[COUNTRIES[country]])
