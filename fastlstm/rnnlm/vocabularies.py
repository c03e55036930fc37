"""Every level's vocabulary: built from a text, or read back from JSON.

A level's module is imported when it is asked for, as what it needs may be large.
"""

from collections.abc import Iterable
from importlib import import_module
from typing import Any

from fastlstm.rnnlm.levels import ByteVocabulary, CharVocabulary, WordVocabulary
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
            return CharVocabulary(values["characters"])
        if level == "word":
            return WordVocabulary(values["words"])
        if level == "bpe":
            bpe: Vocabulary = _load("bpe.BpeVocabulary").from_json(values)
            return bpe
        if level == "zh-word":
            words: Vocabulary = _load("chinese.ChineseVocabulary")(
                values["words"], values["segmented"]
            )
            return words
    except (KeyError, TypeError) as error:
        raise ValueError("not a vocabulary") from error
    raise ValueError(f"not a vocabulary: unknown level {level!r}")


def _load(name: str) -> Any:
    module, _, attribute = name.partition(".")
    return getattr(import_module(f"fastlstm.rnnlm.{module}"), attribute)
