"""What a view looks at: a run's weights, its texts, and the text that was asked for."""

import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from fastlstm.rnnlm.chinese import chinese_words
from fastlstm.rnnlm.chunks import check_utf8
from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.dataset import Dataset
from fastlstm.rnnlm.files import read_text
from fastlstm.rnnlm.levels import LINE_END, UNKNOWN
from fastlstm.rnnlm.model import RNNLM
from fastlstm.rnnlm.runs import Run

LECTURE = "中国 男足 踢得 真烂 气得我 想 大吃 一顿"


def read_given(text: str | None, file: str | None) -> bytes | None:
    """The text to look at, from the command line, a file, or standard input for "-"."""
    if text is not None:
        return text.encode("utf-8", "surrogateescape")
    if file is None:
        return None
    return sys.stdin.buffer.read() if file == "-" else read_text(Path(file))


@dataclass(frozen=True)
class Subject:
    """A run and what to look at in it.

    step: of the checkpoint whose weights `model` has.
    dataset: what the run was trained on; where that is gone, `no_dataset` says why.
    given: the text to look at, None for the view's own choice.
    layer, unit: counted from 0; None for the view's own choice.
    font: a font file for the words in the pictures.
    beside: other runs to compare it with.
    """

    run: Run
    model: RNNLM
    step: int
    dataset: Dataset | None = None
    no_dataset: str = ""
    given: bytes | None = None
    layer: int | None = None
    unit: int | None = None
    font: str | None = None
    beside: tuple["Subject", ...] = ()

    def __post_init__(self) -> None:
        for name, value, count in (
            ("--layer", self.layer, self.layers),
            ("--unit", self.unit, self.config.hidden),
        ):
            if value is not None and not 0 <= value < count:
                raise ValueError(f"{name} must be at least 0 and below {count}, got {value}")

    @property
    def config(self) -> Config:
        """The run's options."""
        return self.run.config

    @property
    def name(self) -> str:
        """What legends call the run."""
        return f"{self.run.path.name} ({self.config.cell})"

    @property
    def layers(self) -> int:
        """Recurrent layers."""
        return int(self.model.rnn.num_layers)

    @property
    def shown_layer(self) -> int:
        """The layer that was asked for, else the last one."""
        return self.layers - 1 if self.layer is None else self.layer

    def tokens(self, most: int) -> torch.Tensor:
        """The first `most` tokens of the text to look at, int64: the given one or validation's."""
        return self.text_tokens(self.given, most)

    def sentence(self, most: int) -> tuple[torch.Tensor, list[str]]:
        """A short text and a label for each token: the one given, the lecture's, or validation's.

        The lecture's is taken where the vocabulary knows at least two of its tokens.
        """
        text = self.given
        if text is None and self.config.level != "byte":
            parted = self.config.level in ("word", "zh-word")
            lecture = LECTURE if parted else LECTURE.replace(" ", "")
            encoded = self.run.vocabulary.encode(lecture.encode())
            if len(encoded) - self.run.vocabulary.count_unknown(encoded) >= 2:
                text = lecture.encode()
        tokens = self.text_tokens(text, most)
        spelt: list[str] | None = None
        if text is not None and self.config.level == "word":
            spelt = text.decode().replace("\n", " \u21b5 ").split()
        elif text is not None and self.config.level == "zh-word":
            spelt = [w.replace(LINE_END, "\u21b5") for w in chinese_words(text.decode())]
        elif text is not None and self.config.level == "char":
            spelt = list(text.decode())
        return tokens, self._labels(tokens, spelt)

    def text_tokens(self, text: bytes | None, most: int) -> torch.Tensor:
        """The first `most` tokens of `text`, or of the validation part for None."""
        if text is not None:
            if self.config.level != "byte":
                check_utf8([text], "the text to look at")
            encoded = torch.from_numpy(self.run.vocabulary.encode(text))
            if not len(encoded):
                raise ValueError("the text to look at is empty")
            return encoded[:most].long()
        return self.validation().valid.tokens[:most].long()

    def validation(self) -> Dataset:
        """The run's dataset; ValueError where its text is no longer there."""
        if self.dataset is None:
            raise ValueError(f"{self.no_dataset}; --text or --file gives another text")
        return self.dataset

    def pieces(self, tokens: torch.Tensor) -> list[str]:
        """The text of each token; of a character of many bytes all is the last one's."""
        return [
            piece
            for piece, _ in zip(self.run.vocabulary.decode(tokens.tolist()), tokens, strict=False)
        ]

    def _labels(self, tokens: torch.Tensor, spelt: list[str] | None) -> list[str]:
        """A short name for each token, with white space made visible.

        spelt: the tokens as the text has them; those not in the vocabulary are shown with a star.
        """
        labels = []
        for index, piece in enumerate(self.pieces(tokens)):
            label = piece.strip(" ") if self.config.level in ("word", "zh-word") else piece
            if label in (UNKNOWN, "\N{REPLACEMENT CHARACTER}") and spelt is not None:
                label = f"{spelt[index]}*"
            labels.append(label.replace("\n", "\u21b5").replace(" ", "\u2423") or "\u00b7")
        return labels
