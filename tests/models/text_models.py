"""Models of words and sentences: packed sequences, highway LSTMs, weight-drop, and a cell."""

from __future__ import annotations

import torch
from model_sample import Outputs, Sample
from torch import Tensor, nn


def stanza_tagger() -> Sample:
    """Part-of-speech tagger of Qi et al. (2020): highway LSTM on packed sentences and words."""
    from stanza.models.pos.model import Tagger
    from stanza.models.tagger import build_argparse

    sizes = {"word": 8000, "char": 120, "upos": 18, "xpos": 50, "feats": 90}
    arguments = vars(build_argparse().parse_args([]))
    model = Tagger(
        arguments, {k: range(n) for k, n in sizes.items()}, emb_matrix=torch.randn(1, 100)
    )
    sentences = sorted((5 + 7 * i % 31 for i in range(32)), reverse=True)
    letters = sorted((1 + 5 * i % 13 for i in range(sum(sentences))), reverse=True)
    inputs = {name: words(sentences, sizes[name]) for name in ("word", "upos", "xpos", "feats")}
    inputs |= {"chars": words(letters, sizes["char"]), "order": torch.randperm(len(letters))}

    def call(model: nn.Module, *, word, chars, order, **tags: Tensor) -> Outputs:
        gold = [tags[name] for name in ("upos", "xpos", "feats")]
        known = torch.zeros_like(word)  # the only row of the pretrained embeddings
        masks = word == 0, chars == 0
        arguments = word, masks[0], chars, masks[1], gold, known, order, sentences, letters, None
        return {"loss": model(*arguments)[0]}

    return Sample(without_zeros(model), inputs, call)


def stanza_lemmatizer() -> Sample:
    """Lemmatizer of Qi et al. (2020): a bidirectional encoder, and a cell with attention."""
    from stanza.models.common.seq2seq_model import Seq2SeqModel
    from stanza.models.lemmatizer import build_argparse

    sizes = {"vocab_size": 80, "pos_vocab_size": 20}
    model = Seq2SeqModel(vars(build_argparse().parse_args([])) | sizes)
    lengths = sorted((2 + 5 * i % 13 for i in range(50)), reverse=True)
    source = words(lengths, sizes["vocab_size"])
    part = torch.randint(1, sizes["pos_vocab_size"], (50,))
    inputs = {"source": source, "target": words(lengths[::-1], sizes["vocab_size"]), "part": part}

    def call(model: nn.Module, *, source: Tensor, target: Tensor, part: Tensor) -> Outputs:
        log_probabilities, edits = model(source, source == 0, target, part)
        return {"log_probabilities": log_probabilities, "edits": edits}

    return Sample(model, inputs, call)


def awd_lstm() -> Sample:
    """Language model of Merity et al. (2018): dropout of weight_hh, and states that are kept."""
    from fastai.text.models.awdlstm import AWD_LSTM, awd_lstm_lm_config
    from fastai.text.models.core import get_language_model

    model = get_language_model(AWD_LSTM, 2000, config=awd_lstm_lm_config | {"n_hid": 600})

    def call(model: nn.Module, *, text: Tensor) -> Outputs:
        model.reset()
        return {f"logits{n}": model(window)[0] for n, window in enumerate(text.split(20, dim=1))}

    text = torch.randint(2000, (16, 40))
    with torch.no_grad():
        call(model, text=text)  # leaves weights that can be copied
    return Sample(model, {"text": text}, call)


def words(lengths: list[int], size: int) -> Tensor:
    """Random words below `size` in rows of these lengths, padded with 0."""
    rows = [torch.randint(4, size, (length,)) for length in lengths]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True)


def without_zeros(model: nn.Module) -> nn.Module:
    """The model with random weights for those that start at zero and would let no gradient by."""
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return model
