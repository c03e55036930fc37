"""A corpus made ready for training: split, encoded, cut into streams."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.corpus import Corpus, split_ranges
from fastlstm.rnnlm.france import Bounds
from fastlstm.rnnlm.levels import build_vocabulary
from fastlstm.rnnlm.vocabulary import Vocabulary


@dataclass(frozen=True)
class Text:
    """An encoded text.

    tokens: [N], uint8 at the byte level, int32 otherwise.
    characters: of the raw text, bytes at the byte level; the unit of bits per character.
    unknown: how many of the tokens are `<unk>`.
    """

    tokens: torch.Tensor
    characters: int
    unknown: int


@dataclass(frozen=True)
class Dataset:
    """Both parts of a corpus under one vocabulary.

    split: byte ranges of the corpus that are the validation part.
    bounds: what is exactly known of the validation part, for generated text; None where some of
        its tokens are `<unk>`, which cost less than what they stand for.
    is_language: bool [N] over the validation tokens, for generated text at the word level.
    """

    vocabulary: Vocabulary
    train: Text
    valid: Text
    split: list[tuple[int, int]]
    bounds: Bounds | None
    is_language: torch.Tensor | None


def encode_text(vocabulary: Vocabulary, data: bytes) -> Text:
    """Encode a text, which must be UTF-8 unless the vocabulary is of bytes."""
    tokens = vocabulary.encode(data)
    unknown = vocabulary.count_unknown(tokens)
    return Text(torch.from_numpy(tokens), vocabulary.count_characters(data), unknown)


def make_dataset(corpus: Corpus, config: Config, vocabulary: Vocabulary | None = None) -> Dataset:
    """Split and encode a corpus; the vocabulary is built from the training part unless given.

    ValueError where a part is too short for one window.
    """
    split = split_ranges(
        corpus.data, config.valid_fraction, config.valid_limit, config.valid_pieces
    )
    gaps = zip([0, *(end for _, end in split)], [start for start, _ in split], strict=False)
    train_data = b"".join(corpus.data[start:end] for start, end in gaps)
    valid_data = b"".join(corpus.data[start:end] for start, end in split)
    if vocabulary is None:
        vocabulary = build_vocabulary(config.level, train_data, config.vocab_size)
    train, valid = encode_text(vocabulary, train_data), encode_text(vocabulary, valid_data)
    _check_length(corpus.origin, train, valid, config)
    bounds = is_language = None
    if corpus.france is not None:
        words = _mark_words(corpus.data, split, len(corpus.france.bits))
        bounds = None if valid.unknown else corpus.france.bounds(words)
        if config.level == "word":
            is_language = torch.from_numpy(corpus.france.is_language[words])
    return Dataset(vocabulary, train, valid, split, bounds, is_language)


def _mark_words(data: bytes, split: list[tuple[int, int]], count: int) -> npt.NDArray[np.bool_]:
    """Which of a text's `count` words, line ends included, lie in the byte ranges."""
    marks = np.zeros(count, dtype=np.bool_)
    for start, end in split:
        first = _count_words(data[:start])
        marks[first : first + _count_words(data[start:end])] = True
    return marks


def _count_words(data: bytes) -> int:
    return len(data.split()) + data.count(b"\n")


def _check_length(origin: str, train: Text, valid: Text, config: Config) -> None:
    """ValueError unless each stream has a window of training text and validation has one too."""
    need = config.batch * config.window
    if len(train.tokens) < need:
        raise ValueError(
            f"{origin} is too short: {len(train.tokens)} {config.level}s to train on, but "
            f"--batch {config.batch} x --window {config.window} takes {need}"
        )
    if len(valid.tokens) < config.window:
        raise ValueError(
            f"{origin} is too short: {len(valid.tokens)} {config.level}s held back for validation,"
            f" less than one --window of {config.window}; a larger --valid-fraction holds back more"
        )


class Streams:
    """A text as B parallel contiguous streams, cut into windows of T tokens (truncated BPTT).

    Stream b reads tokens b*S to (b+1)*S, S = N // B; the S % T last tokens of each stream and the
    N % B last ones of the text are left out of an epoch. The text stays in its narrow dtype; only
    a window is widened.
    """

    def __init__(self, tokens: torch.Tensor, start: int, batch: int, window: int) -> None:
        self.batch, self.window = batch, window
        length = len(tokens) // batch
        before = torch.cat([tokens.new_tensor([start]), tokens])
        self._inputs = before[: batch * length].view(batch, length)
        self._targets = before[1 : batch * length + 1].view(batch, length)

    def __len__(self) -> int:
        """Windows in an epoch."""
        return self._inputs.shape[1] // self.window

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Window `index`: inputs [T, B] and targets [T * B], both int64."""
        at = slice(index * self.window, (index + 1) * self.window)
        inputs = self._inputs[:, at].t().to(torch.int64)
        return inputs, self._targets[:, at].t().to(torch.int64).reshape(-1)
