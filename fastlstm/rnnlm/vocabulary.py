"""What the trainer needs of a vocabulary: text to token numbers and back.

Every text is taken to start after a line end, so its first token is predicted too: `start` is the
token that stands for that line end.

A text comes in chunks (see chunks.py), which no line end, blank or character lies across, and is
never whole in memory; what is encoded chunk by chunk is what would be encoded as a whole.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.uint8] | npt.NDArray[np.int16] | npt.NDArray[np.int32]


class Vocabulary(ABC):
    """What the trainer needs of a vocabulary."""

    level: str
    start: int

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def encode(self, data: bytes) -> Tokens:
        """Token numbers [N] of a chunk; UTF-8 must have been checked where the level needs it."""

    @abstractmethod
    def decode(self, tokens: Iterable[int]) -> Iterator[str]:
        """Text, piece by piece as the tokens come."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """The vocabulary as JSON values; `vocabulary_from_json` is the inverse."""

    def pieces(self, text: str) -> list[str]:
        """What the tokens of a text stand for, at a level that has `<unk>`."""
        return list(text)

    def count_characters(self, data: bytes) -> int:
        """Characters of the raw text, the unit of bits per character."""
        return len(data.decode())

    def count_unknown(self, tokens: Tokens) -> int:
        """How many of the tokens are `<unk>`."""
        return int((tokens == 0).sum())
