"""A model that is fed one token at a time, at little more than the cost of its arithmetic.

B sequences side by side, V vocabulary size, T time, R the rows that are kept.
"""

import copy

import torch
from torch import Tensor, nn

from fastlstm import LSTM
from fastlstm.rnnlm.model import RNNLM, State

READ = 256  # tokens of a prompt that are read at once: bounds the logits made


@torch.no_grad()
def read_prompt(model: RNNLM, tokens: list[int]) -> tuple[Tensor, State]:
    """Logits [1, V] after the tokens, and the state [L, 1, H] there."""
    model.eval()
    state = model.initial_state(1)
    device = state[0].device
    for begin in range(0, len(tokens), READ):
        part = torch.tensor(tokens[begin : begin + READ], device=device)
        logits, state = model(part[:, None], state)
    return logits[-1], state


def repeat_state(state: State, batch: int) -> State:
    """The state [L, 1, H] of one sequence for `batch` of them."""
    return tuple(part.expand(-1, batch, -1).contiguous() for part in state)


class Steps:
    """Steps of any model on any device."""

    def __init__(self, model: RNNLM, state: State) -> None:
        self._model, self._state = model, state

    @torch.inference_mode()
    def step(self, tokens: Tensor) -> Tensor:
        """Logits [B, V] of the token after `tokens` [B]."""
        logits, self._state = self._model(tokens[None], self._state)
        last: Tensor = logits[-1]
        return last

    def select(self, rows: Tensor) -> None:
        """Go on with the sequences `rows` [B]: one may be chosen several times."""
        self._state = tuple(part[:, rows] for part in self._state)


class StreamSteps(Steps):
    """Steps of fastlstm's LSTM on a CPU: state and packed weights stay in C++ (`LSTM.stream`)."""

    def __init__(self, model: RNNLM, state: State) -> None:
        layer = _StreamLayer(model.rnn, state)
        # the model as it is, but for its recurrent layer
        stepping = copy.copy(model)
        stepping._modules = dict(model._modules)
        stepping._modules["rnn"] = layer
        super().__init__(stepping, state)
        self._stream = layer.stream

    def select(self, rows: Tensor) -> None:
        """Go on with the sequences `rows` [B]: one may be chosen several times."""
        h, c = self._stream.state
        self._stream.state = h[:, rows], c[:, rows]


class _StreamLayer(nn.Module):
    """An LSTM layer whose state is in its stream: the one it is called with is passed through."""

    def __init__(self, lstm: nn.RNNBase, state: State) -> None:
        super().__init__()
        assert isinstance(lstm, LSTM)
        self.hidden_size, self.num_layers = lstm.hidden_size, lstm.num_layers
        self.stream = lstm.stream(state[0].shape[1])
        self.stream.state = state[0], state[1]

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Y [T, B, H] of x [T, B, E]."""
        return self.stream(x), state


def make_steps(model: RNNLM, state: State) -> Steps:
    """Steps of the model from `state` [L, B, H], the fastest that can run it."""
    on_cpu = state[0].device.type == "cpu" and len(state) == 2
    plain = on_cpu and model.config.reset_at is None  # a stream has no resets
    if plain and isinstance(model.rnn, LSTM) and model.rnn.backend in ("auto", "cpu"):
        try:
            return StreamSteps(model, state)
        except (RuntimeError, ValueError):  # what the C++ kernels cannot run, the module can
            pass
    return Steps(model, state)
