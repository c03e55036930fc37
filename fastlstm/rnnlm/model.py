"""The language model: embedding, stacked recurrent layers, linear decoder.

T time, B batch, V vocabulary size, H hidden, L layers. Everything is time-major.
"""

import torch
from torch import Tensor, nn

from fastlstm import LSTM
from fastlstm.rnnlm.config import Config

State = tuple[Tensor, ...]  # (h,) or (h, c), each [L, B, H]


class RNNLM(nn.Module):
    """p(token t+1 | tokens 0..t) from an embedding of token t and the state of a recurrent layer.

    Mikolov et al. (2010), with the cells of nn.RNN (Elman, tanh), nn.GRU or an LSTM; dropout as in
    Zaremba et al. (2014): never on the recurrence. Weights are drawn from torch's global generator.
    """

    def __init__(self, vocabulary_size: int, config: Config) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, config.embedding_size)
        self.dropout_input = nn.Dropout(config.dropout_input)
        self.rnn = make_recurrence(config)
        self.dropout_output = nn.Dropout(config.dropout_output)
        self.decoder = nn.Linear(config.hidden, vocabulary_size)
        self._states = 2 if config.cell == "lstm" else 1

    @property
    def parameter_count(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.parameters())

    def initial_state(self, batch: int) -> State:
        """Zeros, [L, B, H] each."""
        weight = self.decoder.weight
        shape = (self.rnn.num_layers, batch, self.rnn.hidden_size)
        return tuple(weight.new_zeros(shape) for _ in range(self._states))

    def forward(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits [T, B, V] of the token after each of `tokens` [T, B], and the state at the end."""
        x = self.dropout_input(self.embedding(tokens))
        if self._states == 2:
            y, state = self.rnn(x, state)
        else:
            y, h_n = self.rnn(x, state[0])
            state = (h_n,)
        logits: Tensor = self.decoder(self.dropout_output(y))
        return logits, state


def make_recurrence(config: Config) -> nn.RNNBase:
    """The recurrent layers, [T, B, E] to [T, B, H]."""
    size = (config.embedding_size, config.hidden, config.layers)
    # nn.LSTM warns of a dropout that a single layer cannot use
    dropout = config.dropout if config.layers > 1 else 0.0
    if config.cell == "gru":
        return nn.GRU(*size, dropout=dropout)
    if config.cell == "rnn":
        return nn.RNN(*size, dropout=dropout)
    if config.implementation == "torch":
        lstm: nn.RNNBase = nn.LSTM(*size, dropout=dropout)
    else:
        lstm = LSTM(*size, dropout=dropout, backend=config.backend)
    set_forget_bias(lstm, config.forget_bias)
    return lstm


def set_forget_bias(lstm: nn.RNNBase, value: float) -> None:
    """Start every forget gate at sigmoid(value), so that memory is kept until learnt otherwise.

    Gers et al. (2000); Jozefowicz et al. (2015). nn.LSTM adds two biases: one takes it all.
    """
    hidden = lstm.hidden_size
    with torch.no_grad():
        for layer in range(lstm.num_layers):
            getattr(lstm, f"bias_ih_l{layer}")[hidden : 2 * hidden] = value
            getattr(lstm, f"bias_hh_l{layer}")[hidden : 2 * hidden] = 0


def make_model(vocabulary_size: int, config: Config, device: torch.device) -> RNNLM:
    """A model with weights drawn from `config.seed`, the same on every device."""
    torch.manual_seed(config.seed)
    return RNNLM(vocabulary_size, config).to(device)
