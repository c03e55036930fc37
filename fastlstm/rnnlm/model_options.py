"""The options of a run that say what it trains."""

from dataclasses import dataclass

from fastlstm.rnnlm.option import option


@dataclass(frozen=True)
class ModelOptions:
    """The options of a run that say what it trains."""

    cell: str = option("lstm", "recurrent layer", str, choices=("lstm", "gru", "rnn"))
    hidden: int = option(128, "units per layer", int, at_least=1)
    layers: int = option(2, "recurrent layers", int, at_least=1)
    embedding: int | None = option(
        None,
        "size of the token embedding; 0: none, a token is a one-hot vector",
        int,
        at_least=0,
    )
    tied: bool = option(
        False,
        "the decoder's weights are the embedding's; where --embedding is not --hidden, the last "
        "layer has as many units as the embedding",
        bool,
    )
    softmax: str = option(
        "full",
        "full; or adaptive, for vocabularies of tens of thousands in order of frequency, as words "
        "are: rare ones share few, smaller outputs",
        str,
        choices=("full", "adaptive"),
    )
    dropout: float = option(
        0.0, "dropout between the layers, as nn.LSTM's", float, at_least=0, below=1
    )
    dropout_input: float = option(0.0, "dropout on the embedding", float, at_least=0, below=1)
    dropout_output: float = option(0.0, "dropout before the decoder", float, at_least=0, below=1)
    dropout_embedding: float = option(
        0.0, "dropout of whole tokens of the vocabulary for a window", float, at_least=0, below=1
    )
    locked_dropout: bool = option(
        False, "these dropouts have one mask for all steps of a window", bool
    )
    recurrent_dropout: float = option(
        0.0, "dropout on h, one mask for all steps of a window", float, at_least=0, below=1
    )
    zoneout: float = option(
        0.0,
        "probability that a unit keeps its h and c of the step before",
        float,
        at_least=0,
        below=1,
    )
    weight_drop: float = option(
        0.0, "dropout of the recurrent weights, for a window", float, at_least=0, below=1
    )
    forget_bias: float = option(1.0, "initial bias of the LSTM's forget gates", float)
    init_range: float | None = option(
        None, "draw all weights within so much of zero", float, above=0
    )
    init_embedding: float | None = option(
        None, "the same of embedding and decoder alone, whose bias starts at zero", float, above=0
    )
    reset_at: str | None = option(
        None,
        "start documents from an empty state: at each of this token, as \\n, which begins one",
        str,
    )
    implementation: str = option(
        "fastlstm", "whose LSTM layer trains", str, choices=("fastlstm", "torch")
    )
    backend: str = option(
        "auto", "fastlstm's backend", str, choices=("auto", "cpu", "aten", "reference")
    )
