"""Byte-pair encoding (Sennrich et al., 2016) over bytes, so that no text holds anything unknown.

The merges are learnt and applied by the library `tokenizers`, one line at a time.
"""

import codecs
import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from fastlstm.rnnlm.vocabulary import Tokens, Vocabulary

BYTES = 256
LINES = 1024  # encoded at a time


class BpeVocabulary(Vocabulary):
    """Pieces of words, at worst single bytes."""

    level = "bpe"

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        byte_of = {letter: byte for byte, letter in enumerate(_byte_letters())}
        size = tokenizer.get_vocab_size()
        pieces = [tokenizer.id_to_token(number) for number in range(size)]
        if None in pieces:
            raise ValueError("not a vocabulary: a number stands for nothing")
        self._bytes = [bytes(byte_of[letter] for letter in piece or "") for piece in pieces]
        self.start = self._bytes.index(b"\n")

    @classmethod
    def build(cls, chunks: Iterable[bytes], limit: int, min_count: int) -> "BpeVocabulary":
        """The 256 bytes and as many merges as make `limit`, each of a pair seen `min_count` times.

        ValueError where `limit` is less than the bytes.
        """
        if limit < BYTES:
            raise ValueError(f"--vocab-size must be at least {BYTES} with --level bpe, got {limit}")
        tokenizer = _make_tokenizer(models.BPE())
        trainer = trainers.BpeTrainer(
            vocab_size=limit,
            min_frequency=min_count,
            initial_alphabet=_byte_letters(),
            show_progress=False,
        )
        tokenizer.train_from_iterator((line for chunk in chunks for line in _lines(chunk)), trainer)
        return cls(tokenizer)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "BpeVocabulary":
        """The inverse of `to_json`; ValueError for anything else.

        Only the pieces and the merges are taken: patterns of others might never end.
        """
        try:
            model = values["tokenizer"]["model"]
            pairs = (pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"])
            merges = [(first, second) for first, second in pairs]
            return cls(_make_tokenizer(models.BPE(vocab=model["vocab"], merges=merges)))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # of any kind: the library may even panic
            raise ValueError("not a vocabulary") from error

    def __len__(self) -> int:
        return len(self._bytes)

    def encode(self, data: bytes) -> Tokens:
        """The tokens of each line, its end included."""
        lines, parts = _lines(data), [np.zeros(0, np.int32)]
        for begin in range(0, len(lines), LINES):  # the library's result is large
            batch = lines[begin : begin + LINES]
            encoded = self._tokenizer.encode_batch_fast(batch, add_special_tokens=False)
            parts += [np.array(line.ids, dtype=np.int32) for line in encoded]
        return np.concatenate(parts)

    def decode(self, tokens: Iterable[int]) -> Iterator[str]:
        """UTF-8, each piece as soon as its last byte is there; U+FFFD for what is none."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for token in tokens:
            yield decoder.decode(self._bytes[token])
        yield decoder.decode(b"", final=True)

    def count_unknown(self, tokens: Tokens) -> int:
        """None: a byte is always known."""
        return 0

    def to_json(self) -> dict[str, Any]:
        """The tokenizer in the library's own format, as tokenizer.json holds it."""
        return {"level": self.level, "tokenizer": json.loads(self._tokenizer.to_str())}


def _make_tokenizer(model: models.BPE) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _lines(data: bytes) -> list[str]:
    """The lines of a chunk, each with its end."""
    lines = data.decode().split("\n")
    last = lines.pop()
    return [line + "\n" for line in lines] + ([last] if last else [])


def _byte_letters() -> list[str]:
    """The letter that stands for each of the 256 bytes inside the library (as in GPT-2).

    A printable byte is its own letter, the others follow from U+0100 on.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(BYTES)]
