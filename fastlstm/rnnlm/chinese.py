"""Chinese words: text that is already cut into words is taken as it is, other text jieba cuts.

Which of the two a chunk is, its blanks say: text that is cut has them between most characters of
Chinese that stand in different words, text that is not has hardly any.
"""

import logging
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

from fastlstm.rnnlm.levels import LINE_END, WordVocabulary, rank_words

CHINESE = "\u3400-\u9fff"
TOGETHER = re.compile(f"[{CHINESE}](?=[{CHINESE}])")
APART = re.compile(f"[{CHINESE}](?=[ \t\u3000]+[{CHINESE}])")
CUT_LEAST = 0.1  # share of blanks between neighbouring characters; of words of ten characters


class ChineseVocabulary(WordVocabulary):
    """Chinese words; token 0 is `<unk>`, token 1 the line end `<eos>`.

    segmented: whether the training text was cut into words, so that it is shown with blanks.
    """

    level = "zh-word"

    def __init__(self, words: Sequence[str], segmented: bool) -> None:
        super().__init__(words)
        self.segmented = segmented

    @classmethod
    def build(cls, chunks: Iterable[bytes], limit: int, min_count: int) -> "ChineseVocabulary":
        """The words of a text, the most frequent ones if they are more than `limit` - 2."""
        cut: list[bool] = []

        def words(chunk: bytes) -> list[str]:
            text = chunk.decode()
            cut.append(is_segmented(text))
            return chinese_words(text)

        ranked = rank_words(map(words, chunks), limit, min_count)
        return cls(ranked, bool(cut) and 2 * sum(cut) > len(cut))

    def pieces(self, text: str) -> list[str]:
        """Words and an `<eos>` for each newline; a text that is a word as it stands is not cut."""
        return [text] if text in self._numbers else chinese_words(text)

    def decode(self, tokens: Iterable[int]) -> Iterator[str]:
        """Words parted as in the training text: by blanks if it was cut, else only in Latin."""
        if self.segmented:
            yield from super().decode(tokens)
            return
        before = ""
        for token in tokens:
            word = "\n" if token == self.start else self.words[token]
            blank = _is_latin(before[-1:]) and _is_latin(word[:1])
            yield " " + word if blank else word
            before = word

    def to_json(self) -> dict[str, Any]:
        """The words in order, without the two special ones."""
        return super().to_json() | {"segmented": self.segmented}


def is_segmented(text: str) -> bool:
    """Whether blanks part enough of the neighbouring Chinese characters; not where there are none.

    Chinese without a blank is not, Latin text has nothing to cut.
    """
    apart, together = len(APART.findall(text)), len(TOGETHER.findall(text))
    return apart > 0 and apart >= CUT_LEAST * (apart + together)


def chinese_words(text: str) -> list[str]:
    """The words of a text, with one `<eos>` for each newline."""
    marked = text.replace("\n", f" {LINE_END} ")
    if is_segmented(text) or not TOGETHER.search(text):
        return marked.split()
    cut = _jieba().lcut
    words: list[str] = []
    for part in marked.split():
        words.extend([part] if part == LINE_END else cut(part))
    return words


def _is_latin(letter: str) -> bool:
    return letter.isascii() and letter.isalnum()


@cache
def _jieba() -> Any:
    """The library, without its remarks on what it loads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its regular expressions
        import jieba
    jieba.setLogLevel(logging.WARNING)
    return jieba
