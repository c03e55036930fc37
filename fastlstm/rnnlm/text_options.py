"""The options of a run that say what it reads."""

from dataclasses import dataclass

from fastlstm.rnnlm.france_words import COUNTRIES_MOST
from fastlstm.rnnlm.option import option


@dataclass(frozen=True)
class TextOptions:
    """The options of a run that say what it reads."""

    text: str = option("stdlib", "a text file, a folder, 'stdlib', 'france' and so on", str)
    level: str = option(
        "byte",
        "what a token is; zh-word: Chinese words, as the text parts them or by jieba",
        str,
        choices=("byte", "char", "word", "bpe", "zh-word"),
    )
    vocab_size: int = option(
        10_000, "most tokens in a vocabulary; other characters and words are <unk>", int, at_least=3
    )
    min_count: int = option(
        1, "how often a character or word must come to be in the vocabulary", int, at_least=1
    )
    field: str = option("text", "where a line of a .jsonl file, or a data set, has its text", str)
    cache: str | None = option(None, "folder where texts are prepared, once", str)
    valid_fraction: float = option(
        0.05, "part of the text held back for validation", float, above=0, below=1
    )
    valid_limit: int = option(100_000, "most bytes held back for validation", int, at_least=1)
    valid_pieces: int = option(
        20, "equal stretches of the text whose ends are held back; 1: its tail", int, at_least=1
    )
    france_docs: int = option(20_000, "documents of the france corpus", int, at_least=2)
    france_distance: float = option(
        2.0,
        "mean number of sentences between country and language in france",
        float,
        at_least=0,
        below=1000,
    )
    france_spread: str = option(
        "geometric", "how that number spreads in france", str, choices=("geometric", "fixed")
    )
    france_countries: int = option(
        16, "countries in france", int, at_least=2, below=COUNTRIES_MOST + 1
    )
    france_skin: str = option(
        "english", "what france is said in", str, choices=("english", "chinese")
    )
    symbols: int = option(500_000, "symbols of the markov and dyck corpora", int, at_least=2)
    markov_order: int = option(
        2, "symbols that the next one depends on in markov", int, at_least=0, below=17
    )
    markov_alphabet: int = option(8, "different symbols in markov", int, at_least=2, below=27)
    dyck_kinds: int = option(4, "kinds of brackets in dyck", int, at_least=2, below=9)
    dyck_depth: int = option(8, "brackets that may be open at a time in dyck", int, at_least=1)
