"""A corpus made ready for training: split, encoded, cut into streams."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.corpus import Corpus
from fastlstm.rnnlm.distributed import processes, rank
from fastlstm.rnnlm.generated import Bounds
from fastlstm.rnnlm.prepare import Part, Preparation
from fastlstm.rnnlm.split import split_ranges
from fastlstm.rnnlm.tokenfile import Text as Text
from fastlstm.rnnlm.vocabularies import PLURALS
from fastlstm.rnnlm.vocabulary import Vocabulary

RESIDENT_MOST = 2**30  # bytes of tokens that are kept on a GPU
RELEASE_EVERY = 64  # windows


@dataclass(frozen=True)
class Dataset:
    """The parts of a corpus under one vocabulary.

    split: byte ranges of the text to train on that are the validation part; none where that is a
        text of its own.
    bounds: what is exactly known of the validation part, for generated text; None where some of
        its tokens are `<unk>`, which cost less than what they stand for.
    is_far: bool [N] over the validation tokens, for generated text at the word level.
    test: None where there is no such part.
    parts: the bytes of each part, which are ranges of texts.
    """

    vocabulary: Vocabulary
    train: Text
    valid: Text
    split: list[tuple[int, int]]
    bounds: Bounds | None
    is_far: torch.Tensor | None
    test: Text | None = None
    parts: dict[str, Part] = field(default_factory=dict)


def encode_text(vocabulary: Vocabulary, data: bytes) -> Text:
    """Encode a text, which must be UTF-8 unless the vocabulary is of bytes."""
    tokens = vocabulary.encode(data)
    unknown = vocabulary.count_unknown(tokens)
    return Text(torch.from_numpy(tokens), vocabulary.count_characters(data), unknown, len(data))


def make_dataset(
    corpus: Corpus,
    config: Config,
    vocabulary: Vocabulary | None = None,
    split: list[tuple[int, int]] | None = None,
) -> Dataset:
    """Split and encode a corpus; the vocabulary is built from the training part unless given.

    split: byte ranges of the validation part, by default those of `config`.
    ValueError where a part is too short for one window.
    """
    if split is None:
        split = []
        if "valid" not in corpus.others:
            split = split_ranges(
                corpus.data, config.valid_fraction, config.valid_limit, config.valid_pieces
            )
    prepared = Preparation(corpus, split, config)
    vocabulary = vocabulary or prepared.vocabulary()
    texts = prepared.texts(vocabulary)
    train, valid = texts["train"], texts["valid"]
    _check_length(corpus.origin, train, valid, config)
    bounds = is_far = None
    if corpus.generated is not None:
        words = _mark_words(corpus.data[:], split, len(corpus.generated.bits))
        bounds = None if valid.unknown else corpus.generated.bounds(words)
        if config.level == "word" and corpus.generated.far:
            is_far = torch.from_numpy(corpus.generated.is_far[words])
    test, parts = texts.get("test"), prepared.parts
    return Dataset(vocabulary, train, valid, split, bounds, is_far, test, parts)


def part_of(dataset: Dataset, part: str) -> Text:
    """The part `train`, `valid` or `test`; ValueError where there is no test part."""
    text = {"train": dataset.train, "valid": dataset.valid, "test": dataset.test}[part]
    if text is None:
        raise ValueError("the run's text has no test part: it is no folder or data set with one")
    return text


def make_streams(dataset: Dataset, config: Config, device: torch.device) -> "Streams":
    """The training part as streams, those of this process, whose windows are on `device`."""
    train, start = dataset.train, dataset.vocabulary.start
    sizes, share = (config.batch, config.window), (rank(), processes())
    return Streams(train.tokens, start, *sizes, device, train.release, share)


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
    need, unit = config.batch * config.window, PLURALS[config.level]
    if len(train.tokens) < need:
        raise ValueError(
            f"{origin} is too short: {len(train.tokens)} {unit} to train on, but "
            f"--batch {config.batch} x --window {config.window} takes {need}"
        )
    if len(valid.tokens) < config.window:
        raise ValueError(
            f"{origin} is too short: {len(valid.tokens)} {unit} held back for validation,"
            f" less than one --window of {config.window}; a larger --valid-fraction holds back more"
        )


class Streams:
    """A text as B parallel contiguous streams, cut into windows of T tokens (truncated BPTT).

    Stream b reads tokens b*S to (b+1)*S, S = N // B; the S % T last tokens of each stream and the
    N % B last ones of the text are left out of an epoch. The text stays where it is, in its narrow
    dtype; only a window is widened. To a GPU it moves as a whole where it is small.

    share: which of how many equal blocks of the B streams are read here. `batch` is their number.
    """

    def __init__(
        self,
        tokens: torch.Tensor,
        start: int,
        batch: int,
        window: int,
        device: torch.device | None = None,
        release: Callable[[], None] | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.batch, self.window = batch // share[1], window
        self._device = device or tokens.device
        self._release = release
        self.length = length = len(tokens) // batch
        own = slice(share[0] * self.batch, (share[0] + 1) * self.batch)
        streams = tokens[: batch * length].view(batch, length)[own]
        # what each stream reads first: the token before its own
        before = tokens[length - 1 : (batch - 1) * length : length] if length else tokens[:0]
        before = torch.cat([tokens.new_tensor([start]), before])[own, None]
        if self._device.type != "cpu" and streams.nbytes <= RESIDENT_MOST:
            streams, before = streams.to(self._device), before.to(self._device)
        self._streams, self._before = streams, before

    def __len__(self) -> int:
        """Windows in an epoch."""
        return self._streams.shape[1] // self.window

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Window `index`: inputs [T, B] and targets [T * B], both int64."""
        if self._release is not None and index % RELEASE_EVERY == 0:
            self._release()
        return self.cut(index * self.window, self.window)

    def cut(self, begin: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The window of `length` tokens from token `begin` of each stream on."""
        targets = self._streams[:, begin : begin + length]
        before = self._streams[:, begin - 1 : begin] if begin else self._before
        inputs = torch.cat([before, targets[:, :-1]], dim=1)
        return self._widen(inputs), self._widen(targets).reshape(-1)

    def offset(self, stream: int, begin: int) -> int:
        """Which token of the training text token `begin` of a stream is."""
        return stream * self.length + begin

    def _widen(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens [B, T] as int64 [T, B] on the device."""
        return tokens.t().to(self._device, torch.int64).contiguous()
