"""Ending a text where a stop string appears, without showing any of it."""

from collections.abc import Iterable, Iterator, Sequence

from fastlstm.rnnlm.vocabulary import Vocabulary

TAIL = 8  # tokens more than a stop string has bytes: enough to see it in


def until_stop(pieces: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """The pieces of a text up to the first of `stops`, which is left out.

    What may yet turn out to be the beginning of a stop string is held back until that is known.
    """
    held = ""
    for piece in pieces:
        held += piece
        found = [at for stop in stops if (at := held.find(stop)) >= 0]
        if found:
            yield held[: min(found)]
            return
        keep = max((_overlap(held, stop) for stop in stops), default=0)
        ready, held = held[: len(held) - keep], held[len(held) - keep :]
        yield ready
    yield held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of the text that is a beginning of `stop`."""
    most = min(len(text), len(stop) - 1)
    return next((size for size in range(most, 0, -1) if text.endswith(stop[:size])), 0)


class Ending:
    """Whether a sample has come to one of its stop strings."""

    def __init__(self, vocabulary: Vocabulary, stops: Sequence[str]) -> None:
        self._vocabulary, self._stops = vocabulary, stops
        self._tail = max((len(stop.encode()) for stop in stops), default=0) + TAIL

    def __call__(self, tokens: list[int]) -> bool:
        """Whether one is in the text of the last tokens."""
        if not self._stops:
            return False
        text = "".join(self._vocabulary.decode(tokens[-self._tail :]))
        return any(stop in text for stop in self._stops)
