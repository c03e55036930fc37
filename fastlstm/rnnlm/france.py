"""A text of exactly known entropy with one long-range dependency: "I grew up in France ...".

A document is one line:

    I grew up in COUNTRY . [SUBJECT VERB ADJECTIVE NOUN .]*D I speak fluent LANGUAGE .

COUNTRY is uniform over K; D is geometric, or the same in every document; a filler word is uniform
given the word before it and independent of COUNTRY; LANGUAGE is the country's own with probability
1 - SLIP, otherwise uniform over the others. Every document has one derivation, so the cost of each
word is known. A model that has forgotten COUNTRY sees a uniform LANGUAGE and pays log2 K there: the
memoryless bound. The skin is the language that all this is said in; it changes no probability.
"""

import random
from math import log2

import numpy as np

from fastlstm.rnnlm.france_words import SKINS, Skin
from fastlstm.rnnlm.generated import Generated, lines_of

SLIP = 0.05  # probability that the language is not the country's own


def generate_france(
    documents: int,
    distance: float,
    seed: int = 0,
    *,
    fixed: bool = False,
    countries: int = 16,
    skin: str = "english",
) -> Generated:
    """Draw `documents` documents with on average `distance` filler sentences in between.

    fixed: exactly `distance` ones, which must be whole. countries: how many, the first of the list.
    The same arguments give the same text on every Python, because only `Random.random` is used,
    whose sequence Python guarantees.
    """
    if fixed and distance != int(distance):
        raise ValueError(f"--france-distance must be whole where it is fixed, got {distance}")
    document = _Document(SKINS[skin], random.Random(seed), distance, fixed, countries)
    languages = [document.draw() for _ in range(documents)]
    is_far = np.zeros(len(document.words), dtype=np.bool_)
    is_far[languages] = True
    bits = np.array(document.bits)
    forgetful = np.where(is_far, log2(countries), bits)
    origin = f"france, {documents} generated documents"
    return Generated(origin, lines_of(document.words), bits, forgetful, is_far, "LANGUAGE")


class _Document:
    """Draws documents, and keeps their words and costs."""

    def __init__(
        self, skin: Skin, rng: random.Random, distance: float, fixed: bool, countries: int
    ) -> None:
        self.words: list[str] = []
        self.bits: list[float] = []
        self._skin, self._rng, self._countries = skin, rng, countries
        self._fixed = int(distance) if fixed else None
        # a geometric number of sentences has this hazard
        self._proceed = distance / (1 + distance)

    def draw(self) -> int:
        """Append one document; returns the position of its LANGUAGE."""
        skin = self._skin
        self._sure(skin.grew_up)
        country = self._choose(tuple(skin.languages)[: self._countries])
        self._sure(skin.stop)
        if self._fixed is not None:
            for _ in range(self._fixed):
                self._filler(0.0)
            self._sure(skin.speak)
        else:
            while self._rng.random() < self._proceed:
                self._filler(-log2(self._proceed))
            first = len(self.words)
            self._sure(skin.speak)
            self.bits[first] = -log2(1 - self._proceed)
        self._language(country)
        self._sure((*skin.stop, "\n"))
        return len(self.words) - len(skin.stop) - 2

    def _filler(self, extra: float) -> None:
        """A sentence; its first word costs `extra` bits, as it says that there is a sentence."""
        skin = self._skin
        self._choose(skin.subjects, extra)
        self._choose(skin.verbs)
        self._choose(skin.nouns[self._choose(skin.adjectives) % 2])
        self._sure(skin.stop)

    def _sure(self, words: tuple[str, ...]) -> None:
        self.words += words
        self.bits += [0.0] * len(words)

    def _choose(self, options: tuple[str, ...], extra: float = 0.0) -> int:
        index = int(self._rng.random() * len(options))
        self.words.append(options[index])
        self.bits.append(log2(len(options)) + extra)
        return index

    def _language(self, country: int) -> None:
        """Append LANGUAGE, the country's own but for a slip, and its cost."""
        if self._rng.random() >= SLIP:
            self.bits.append(-log2(1 - SLIP))
        else:
            others = self._countries - 1
            # 1 to K-1 countries further: uniform over all the others
            country = (country + 1 + int(self._rng.random() * others)) % self._countries
            self.bits.append(-log2(SLIP / others))
        self.words.append(tuple(self._skin.languages.values())[country])
