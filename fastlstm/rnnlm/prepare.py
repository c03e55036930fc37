"""A corpus prepared once: its vocabulary and its tokens, from the cache or into it."""

import json
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

from fastlstm.rnnlm.cache import cache_folder, key_of, write_bytes_once, write_once
from fastlstm.rnnlm.chunks import CHUNK, Bytes, FileBytes, check_utf8, read_chunks
from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.corpus import Corpus
from fastlstm.rnnlm.tokenfile import Text, map_tokens, read_header, write_tokens
from fastlstm.rnnlm.vocabularies import build_vocabulary, vocabulary_from_json
from fastlstm.rnnlm.vocabulary import Vocabulary

VERSION = 1  # of what vocabularies and tokens are made of a text: part of every name in the cache
ORIGIN_MOST = 250  # characters of a text's name that a header has room for, whatever they are
Ranges = list[tuple[int, int]]
Part = tuple[Bytes, Ranges]  # ranges of a text


class Preparation:
    """A corpus, its parts as ranges of texts, and where what is made of them is kept.

    split: ranges of the text to train on that are held back for validation; none where the corpus
        has a validation text of its own.
    """

    def __init__(self, corpus: Corpus, split: Ranges, config: Config) -> None:
        self._corpus, self._config = corpus, config
        self._cache = cache_folder(config.cache)
        self._checked = config.level == "byte"
        data = corpus.data
        gaps = zip([0, *(e for _, e in split)], [*(s for s, _ in split), len(data)], strict=True)
        self.parts: dict[str, Part] = {"train": (data, list(gaps))}
        if split:
            self.parts["valid"] = (data, split)
        for part, other in corpus.others.items():
            self.parts[part] = (other, [(0, len(other))])
        self._key = [VERSION, corpus.sha256, split]

    def vocabulary(self) -> Vocabulary:
        """The vocabulary of the training part."""
        config = self._config
        if config.level == "byte":
            return build_vocabulary("byte", [], 0)
        key = key_of(*self._key, config.level, config.vocab_size, config.min_count)
        path = self._cache / "vocabularies" / f"{key}.json"
        if not path.exists():
            self._check_utf8()
            chunks = self._chunks("train")
            built = build_vocabulary(config.level, chunks, config.vocab_size, config.min_count)
            self._check_unchanged()
            write_bytes_once(path, json.dumps(built.to_json()).encode())
        return vocabulary_from_json(json.loads(path.read_bytes()))

    def texts(self, vocabulary: Vocabulary) -> dict[str, Text]:
        """The encoded parts, by name."""
        fingerprint = key_of(vocabulary.to_json())
        path = self._cache / "tokens" / f"{key_of(*self._key, fingerprint)}.tokens"
        header = read_header(path)
        if header is None:
            path.unlink(missing_ok=True)
            self._check_utf8()
            parts = {part: partial(self._chunks, part) for part in self.parts}
            source = {
                "origin": self._corpus.origin[-ORIGIN_MOST:],
                "sha256": self._corpus.sha256,
                "vocabulary": fingerprint,
            }

            def write(file: BinaryIO) -> None:
                write_tokens(file, parts, vocabulary, source)
                self._check_unchanged()

            write_once(path, write)
            header = read_header(path)
        if header is None:
            raise RuntimeError(f"{path} was damaged as soon as it was written")
        return map_tokens(path, header)

    def _chunks(self, part: str) -> Iterator[bytes]:
        return read_chunks(*self.parts[part])

    def _check_unchanged(self) -> None:
        """ValueError where a file is not what its sha256 is of any more."""
        for data in self._corpus.parts.values():
            if isinstance(data, FileBytes):
                data.check_unchanged()

    def _check_utf8(self) -> None:
        """ValueError where a text is no UTF-8, unless that is known already."""
        if self._checked:
            return
        for part, data in self._corpus.parts.items():
            blocks = (data[begin : begin + CHUNK] for begin in range(0, len(data), CHUNK))
            where = f"{self._corpus.origin}, {part}" if self._corpus.others else self._corpus.origin
            check_utf8(blocks, where)
        self._checked = True
