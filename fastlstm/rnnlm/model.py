"""The language model: embedding, stacked recurrent layers, decoder.

T time, B batch, V vocabulary size, E embedding, H hidden, L layers. Everything is time-major.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.decoder import AdaptiveDecoder, LinearDecoder
from fastlstm.rnnlm.recurrence import make_recurrence, output_size, set_forget_bias
from fastlstm.rnnlm.vocabulary import Vocabulary

# (h,) or (h, c), each [L, B, H]; of layers of different sizes [1, B, H] of each, all h before all c
State = tuple[Tensor, ...]
TIED_RANGE = 0.1  # of a tied embedding, unless asked otherwise: N(0, 1) gives logits in the tens


class RNNLM(nn.Module):
    """p(token t+1 | tokens 0..t) from an embedding of token t and the state of a recurrent layer.

    Mikolov et al. (2010), with the cells of nn.RNN (Elman, tanh), nn.GRU or an LSTM; dropout as in
    Zaremba et al. (2014), and as in Merity et al. (2017). Weights are drawn from torch's global
    generator.
    """

    reset_token: Tensor

    def __init__(self, vocabulary_size: int, config: Config) -> None:
        super().__init__()
        self.config = config
        size = config.embedding_size
        self.embedding = nn.Embedding(vocabulary_size, size) if size else OneHot(vocabulary_size)
        self.dropout_input = _dropout(config.dropout_input, config)
        self.rnn = make_recurrence(config, size or vocabulary_size)
        self.dropout_output = _dropout(config.dropout_output, config)
        self.decoder: LinearDecoder | AdaptiveDecoder
        if config.softmax == "adaptive":
            self.decoder = AdaptiveDecoder(output_size(config), vocabulary_size)
        else:
            self.decoder = LinearDecoder(output_size(config), vocabulary_size)
        if config.tied:
            self.decoder.weight = self.embedding.weight  # type: ignore[misc, assignment]
        if config.reset_at is not None:  # which token that is, is for the vocabulary to say
            self.register_buffer("reset_token", torch.tensor(-1))
        self._states = 2 if config.cell == "lstm" else 1
        self._draw_weights()

    @property
    def parameter_count(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.parameters())

    def initial_state(self, batch: int) -> State:
        """Zeros, [L, B, H] each, or [1, B, H] of each layer."""
        weight, size = self.decoder.weight, self.rnn.hidden_size
        shapes = [(self.rnn.num_layers, batch, size)]
        if not isinstance(size, int):
            shapes = [(1, batch, own) for own in size]
        return tuple(weight.new_zeros(shape) for shape in shapes * self._states)

    def forward(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits [T, B, V] of the token after each of `tokens` [T, B], and the state at the end."""
        y, state = self._run(tokens, state)
        logits: Tensor = self.decoder(self.dropout_output(y))
        return logits, state

    def advance(self, tokens: Tensor, state: State) -> State:
        """The state after `tokens` [T, B]."""
        return self._run(tokens, state)[1]

    def loss(
        self, tokens: Tensor, targets: Tensor, state: State
    ) -> tuple[Tensor, Tensor | None, State]:
        """Mean nats per token of targets [T * B], a penalty on the outputs, and the state."""
        y, state = self._run(tokens, state)
        dropped = self.dropout_output(y)
        loss = self.decoder.loss(dropped.flatten(0, 1), targets)
        return loss, self._penalty(y, dropped), state

    def _run(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """The last layer's output [T, B, H], and the state at the end."""
        x = self.embedding(tokens)
        rate = self.config.dropout_embedding
        if rate and self.training:
            kept = F.dropout(x.new_ones(self.embedding.num_embeddings), rate)
            x = x * kept[tokens].unsqueeze(2)
        x = self.dropout_input(x)
        if self._states == 1:
            y, h_n = self.rnn(x, state[0])
            return y, (h_n,)
        resets = {}
        if self.config.reset_at is not None:
            begins = tokens == self.reset_token
            if bool(begins.any()):
                resets["resets"] = begins
        if isinstance(self.rnn.hidden_size, int):
            return self.rnn(x, state, **resets)  # type: ignore[no-any-return]
        layers = self.rnn.num_layers
        y, (h, c) = self.rnn(x, (state[:layers], state[layers:]), **resets)
        return y, (*h, *c)

    def _penalty(self, y: Tensor, dropped: Tensor) -> Tensor | None:
        """Activation and temporal activation regularisation (Merity et al., 2017)."""
        parts, config = [], self.config
        if config.activation_penalty:  # the mean of means is the same in any number of threads
            square = dropped.float().square()
            parts.append(config.activation_penalty * square.mean(-1).mean())
        if config.slowness_penalty and len(y) > 1:
            square = y.float().diff(dim=0).square()
            parts.append(config.slowness_penalty * square.mean(-1).mean())
        return torch.stack(parts).sum() if parts else None

    @torch.no_grad()
    def _draw_weights(self) -> None:
        """The ranges that were asked for, where torch's own were not left."""
        config = self.config
        if config.init_range is not None:
            _draw(self.parameters(), config.init_range)
            if config.cell == "lstm":
                set_forget_bias(self.rnn, config.forget_bias)
        scale = config.init_embedding
        if scale is None and config.tied and config.init_range is None:
            scale = TIED_RANGE
        if scale is not None:
            _draw(self.embedding.parameters(), scale)
            for name, weight in self.decoder.named_parameters():
                _draw([weight], 0.0 if name.endswith("bias") else scale)


class OneHot(nn.Module):
    """Tokens of a vocabulary of V as vectors [V], 1 at the token and else 0: char-rnn's input.

    The layer's own weights for x are then a vector of 4H for each token.
    """

    vocabulary: Tensor
    one: Tensor

    def __init__(self, num_embeddings: int) -> None:
        super().__init__()
        self.num_embeddings = num_embeddings
        self.register_buffer("vocabulary", torch.arange(num_embeddings), persistent=False)
        self.register_buffer("one", torch.ones(()), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """[...] to [..., V], of the model's dtype."""
        return (tokens.unsqueeze(-1) == self.vocabulary).to(self.one.dtype)


class LockedDropout(nn.Module):
    """Dropout with one mask for all steps of a sequence (Gal and Ghahramani, 2016)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """x [T, B, F] with the same elements of [B, F] dropped at each step."""
        if not (self.training and self.rate):
            return x
        return x * F.dropout(x.new_ones(x.shape[1:]), self.rate)


def _dropout(rate: float, config: Config) -> nn.Module:
    return LockedDropout(rate) if config.locked_dropout else nn.Dropout(rate)


def _draw(weights: Iterable[Tensor], scale: float) -> None:
    for weight in weights:
        weight.uniform_(-scale, scale)


def make_model(vocabulary_size: int, config: Config, device: torch.device) -> RNNLM:
    """A model with weights drawn from `config.seed`, the same on every device."""
    torch.manual_seed(config.seed)
    return RNNLM(vocabulary_size, config).to(device)


def own_tensors(model: RNNLM) -> dict[str, Tensor]:
    """All that a checkpoint holds of a model: its state_dict, what is tied once."""
    tensors: dict[str, Tensor] = model.state_dict()
    if model.config.tied:
        del tensors["decoder.weight"]
    return tensors


def set_reset_token(model: RNNLM, vocabulary: Vocabulary) -> None:
    """Tell the model which token --reset-at means; ValueError where it is not one."""
    written = model.config.reset_at
    if written is None:
        return
    text = written.encode("latin-1", "backslashreplace").decode("unicode_escape")
    tokens = vocabulary.encode(text.encode())
    if vocabulary.count_unknown(tokens):
        raise ValueError(f"--reset-at {written!r} is not in the run's vocabulary")
    if len(tokens) != 1:
        raise ValueError(
            f"--reset-at must be one {vocabulary.level} of the text, got {written!r}, which is "
            f"{len(tokens)}"
        )
    model.reset_token.fill_(int(tokens[0]))
