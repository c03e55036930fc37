"""The options of a run that say what it reads."""

from dataclasses import dataclass

from fastlstm.rnnlm.option import option


@dataclass(frozen=True)
class TextOptions:
    """The options of a run that say what it reads."""

    text: str = option("stdlib", "a text file, 'stdlib' or 'france'", str)
    level: str = option("byte", "what a token is", str, choices=("byte", "char", "word"))
    vocab_size: int = option(
        10_000, "most tokens in a char or word vocabulary; the others are <unk>", int, at_least=3
    )
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
