"""Vocabularies of bytes, of characters and of words; those of BPE and Chinese words stand beside.

Vocabularies are built from the training part alone; whatever it does not hold (at the char and word
levels), or holds less than `min_count` times, is `<unk>`, in validation and in evaluation.
"""

import codecs
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.rnnlm.vocabulary import Tokens, Vocabulary

UNKNOWN = "<unk>"
LINE_END = "<eos>"
UNICODE_SIZE = 0x110000
WORDS_MOST = 4_000_000  # different words that are counted at a time


class ByteVocabulary(Vocabulary):
    """The 256 bytes: takes any file, knows no unknown token."""

    level = "byte"
    start = ord("\n")

    def __len__(self) -> int:
        return 256

    def encode(self, data: bytes) -> Tokens:
        """The bytes themselves."""
        return np.frombuffer(data, dtype=np.uint8).copy()  # torch wants writable memory

    def decode(self, tokens: Iterable[int]) -> Iterator[str]:
        """UTF-8, each piece as soon as its last byte is there; U+FFFD for what is none."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for token in tokens:
            yield decoder.decode(bytes([token]))
        yield decoder.decode(b"", final=True)

    def count_characters(self, data: bytes) -> int:
        """Bytes."""
        return len(data)

    def count_unknown(self, tokens: Tokens) -> int:
        """None: a byte is always known."""
        return 0

    def to_json(self) -> dict[str, Any]:
        """The level alone."""
        return {"level": self.level}


class CharVocabulary(Vocabulary):
    """Unicode code points, token 0 is `<unk>` (shown as U+FFFD)."""

    level = "char"

    def __init__(self, characters: str) -> None:
        self.characters = characters
        self._table = np.zeros(UNICODE_SIZE, dtype=np.int32)
        codes = np.array([ord(character) for character in characters], dtype=np.int64)
        self._table[codes] = np.arange(1, len(characters) + 1)
        self.start = int(self._table[ord("\n")])

    @classmethod
    def build(cls, chunks: Iterable[bytes], limit: int, min_count: int) -> "CharVocabulary":
        """The characters of a text, the most frequent ones if they are more than `limit` - 1."""
        counts = np.zeros(UNICODE_SIZE, dtype=np.int64)
        for chunk in chunks:
            counts += np.bincount(_code_points(chunk), minlength=UNICODE_SIZE)
        frequent = np.argsort(-counts, kind="stable")[: limit - 1]
        return cls("".join(chr(code) for code in sorted(frequent[counts[frequent] >= min_count])))

    def __len__(self) -> int:
        return len(self.characters) + 1

    def encode(self, data: bytes) -> Tokens:
        """One token per code point."""
        return self._table[_code_points(data)]

    def decode(self, tokens: Iterable[int]) -> Iterator[str]:
        """One code point per token."""
        shown = "\N{REPLACEMENT CHARACTER}" + self.characters
        return (shown[token] for token in tokens)

    def to_json(self) -> dict[str, Any]:
        """The characters in order."""
        return {"level": self.level, "characters": self.characters}


class WordVocabulary(Vocabulary):
    """Words parted by white space; token 0 is `<unk>`, token 1 the line end `<eos>`."""

    level = "word"
    start = 1

    def __init__(self, words: Sequence[str]) -> None:
        self.words = [UNKNOWN, LINE_END, *words]
        self._numbers = {word: number for number, word in enumerate(self.words)}

    @classmethod
    def build(cls, chunks: Iterable[bytes], limit: int, min_count: int) -> "WordVocabulary":
        """The words of a text, the most frequent ones if they are more than `limit` - 2."""
        return cls(rank_words((_words(chunk.decode()) for chunk in chunks), limit, min_count))

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, data: bytes) -> Tokens:
        """One token per word and per line end."""
        words = self.pieces(data.decode())
        numbers = (self._numbers.get(word, 0) for word in words)
        return np.fromiter(numbers, dtype=np.int32, count=len(words))

    def pieces(self, text: str) -> list[str]:
        """Words, with one `<eos>` for each newline."""
        return _words(text)

    def decode(self, tokens: Iterable[int]) -> Iterator[str]:
        """Words parted by blanks, lines by newlines."""
        line_start = True
        for token in tokens:
            if token == self.start:
                yield "\n"
            else:
                yield self.words[token] if line_start else " " + self.words[token]
            line_start = token == self.start

    def to_json(self) -> dict[str, Any]:
        """The words in order, without the two special ones."""
        return {"level": self.level, "words": self.words[2:]}


def rank_words(texts: Iterable[Iterable[str]], limit: int, min_count: int) -> list[str]:
    """The most frequent words, at most `limit` - 2, each at least `min_count` times in the text.

    Where more than `WORDS_MOST` different ones are counted, the rarest are forgotten on the way, as
    in word2vec, so that memory is bounded: exact but for words about as rare as those.
    """
    counts: Counter[str] = Counter()
    rare = 0
    for words in texts:
        counts.update(words)
        while len(counts) > WORDS_MOST:
            rare += 1
            counts = Counter({word: count for word, count in counts.items() if count > rare})
    del counts[UNKNOWN], counts[LINE_END]
    # by count, then alphabetically: the same text gives the same numbers
    kept = (word for word, count in counts.items() if count >= min_count)
    return sorted(kept, key=lambda word: (-counts[word], word))[: limit - 2]


def _code_points(data: bytes) -> npt.NDArray[np.uint32]:
    """Unicode code points of UTF-8 data."""
    return np.frombuffer(data.decode().encode("utf-32-le"), dtype="<u4")


def _words(text: str) -> list[str]:
    """Words of a text, with one `<eos>` for each newline."""
    return text.replace("\n", f" {LINE_END} ").split()
