"""The options of a run that say what it trains."""

from dataclasses import dataclass

from fastlstm.rnnlm.option import option


@dataclass(frozen=True)
class ModelOptions:
    """The options of a run that say what it trains."""

    cell: str = option("lstm", "recurrent layer", str, choices=("lstm", "gru", "rnn"))
    hidden: int = option(128, "units per layer", int, at_least=1)
    layers: int = option(2, "recurrent layers", int, at_least=1)
    embedding: int | None = option(None, "size of the token embedding", int, at_least=1)
    dropout: float = option(
        0.0, "dropout between the layers, as nn.LSTM's", float, at_least=0, below=1
    )
    dropout_input: float = option(0.0, "dropout on the embedding", float, at_least=0, below=1)
    dropout_output: float = option(0.0, "dropout before the decoder", float, at_least=0, below=1)
    forget_bias: float = option(1.0, "initial bias of the LSTM's forget gates", float)
    implementation: str = option(
        "fastlstm", "whose LSTM layer trains", str, choices=("fastlstm", "torch")
    )
    backend: str = option(
        "auto", "fastlstm's backend", str, choices=("auto", "cpu", "aten", "reference")
    )
