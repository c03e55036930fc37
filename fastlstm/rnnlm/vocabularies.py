"""Every level's vocabulary: built from a text, or read back from JSON.

A level's module is imported when it is asked for, as what it needs may be large.
"""

from collections.abc import Iterable
from importlib import import_module
from typing import Any

from fastlstm.rnnlm.levels import (
    LINE_END,
    UNKNOWN,
    ByteVocabulary,
    CharVocabulary,
    WordVocabulary,
)
from fastlstm.rnnlm.vocabulary import Vocabulary

# what tokens of a level are called
PLURALS = {
    "byte": "bytes",
    "char": "chars",
    "word": "words",
    "bpe": "tokens",
    "zh-word": "words",
}


def build_vocabulary(
    level: str, train: Iterable[bytes], limit: int, min_count: int = 1
) -> Vocabulary:
    """The vocabulary of a training text, given in chunks, with at most `limit` tokens."""
    if level == "byte":
        return ByteVocabulary()
    if level == "char":
        return CharVocabulary.build(train, limit, min_count)
    if level == "word":
        return WordVocabulary.build(train, limit, min_count)
    name = {"bpe": "bpe.BpeVocabulary", "zh-word": "chinese.ChineseVocabulary"}[level]
    vocabulary: Vocabulary = _load(name).build(train, limit, min_count)
    return vocabulary


def vocabulary_from_json(values: dict[str, Any]) -> Vocabulary:
    """The inverse of `Vocabulary.to_json`; ValueError for anything else."""
    try:
        level = values["level"]
        if level == "byte":
            return ByteVocabulary()
        if level == "char":
            return CharVocabulary("".join(_different(values["characters"], str)))
        if level == "word":
            return WordVocabulary(_different(values["words"], list))
        if level == "bpe":
            bpe: Vocabulary = _load("bpe.BpeVocabulary").from_json(values)
            return bpe
        if level == "zh-word":
            words, segmented = _different(values["words"], list), values["segmented"]
            if not isinstance(segmented, bool):
                raise ValueError("not a vocabulary: segmented is neither true nor false")
            chinese: Vocabulary = _load("chinese.ChineseVocabulary")(words, segmented)
            return chinese
    except (KeyError, TypeError) as error:
        raise ValueError("not a vocabulary") from error
    raise ValueError(f"not a vocabulary: unknown level {level!r}")


def _different(tokens: Any, kind: type[str] | type[list[str]]) -> list[str]:
    """Characters or words that came as JSON; ValueError unless each is text and no other's."""
    if not isinstance(tokens, kind):
        raise ValueError(f"not a vocabulary: tokens are {type(tokens).__name__}")
    known = {UNKNOWN, LINE_END}
    for token in tokens:
        if not isinstance(token, str) or token in known:
            raise ValueError(f"not a vocabulary: {token!r} is no text or comes twice")
        token.encode()  # half a surrogate pair is a ValueError
        known.add(token)
    return list(tokens)


def _load(name: str) -> Any:
    module, _, attribute = name.partition(".")
    return getattr(import_module(f"fastlstm.rnnlm.{module}"), attribute)
