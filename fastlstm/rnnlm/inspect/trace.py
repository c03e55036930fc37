"""What every unit of a model did at every token of a text.

N tokens, L layers, H units.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastlstm import LSTM
from fastlstm.rnnlm.model import RNNLM

LSTM_GATES, GRU_GATES = ("i", "f", "g", "o"), ("r", "z", "n")


@dataclass(frozen=True)
class Trace:
    """All on the CPU, after each token was read.

    h: [L, N, H]; c: the same, None where the cell has none.
    gates: the activated ones by name, [L, N, H] each; none for an Elman cell.
    """

    h: Tensor
    c: Tensor | None
    gates: dict[str, Tensor]

    @property
    def memory(self) -> Tensor:
        """What a unit remembers, in -1..1 [L, N, H]: tanh(c), or h where there is no c."""
        return self.h if self.c is None else torch.tanh(self.c)


def has_sizes(model: RNNLM) -> bool:
    """Whether layers have a size each: the last one that of tied embeddings."""
    return isinstance(model.rnn.hidden_size, list)


@torch.no_grad()
def trace_units(model: RNNLM, tokens: Tensor, start: int) -> Trace:
    """Read `start`, then tokens [N], from a zero state."""
    training = model.training
    model.eval()
    rnn: nn.RNNBase = model.rnn
    tokens = torch.cat([tokens.new_tensor([start]), tokens]).to(model.decoder.weight.device)
    x = model.embedding(tokens)[:, None]
    c = None
    if isinstance(rnn, nn.GRU):
        h, gates = _trace_gru(rnn, x)
    elif isinstance(rnn, nn.RNN):
        h, gates = _hidden_states(rnn, x), {}
    elif isinstance(rnn, nn.LSTM) and not rnn.proj_size and not has_sizes(model):
        c, gates = trace_lstm(rnn, x)
        h = gates["o"] * torch.tanh(c)
    else:
        raise ValueError(
            "units can be watched in a GRU, an RNN, or an LSTM of one hidden size without "
            "projections only"
        )
    model.train(training)
    after = {name: gate[:, 1:].cpu() for name, gate in gates.items()}
    c = None if c is None else c[:, 1:].cpu()
    return Trace(h[:, 1:].cpu(), c, after)


@torch.no_grad()
def predictions(model: RNNLM, tokens: Tensor, start: int) -> Tensor:
    """Probabilities [N + 1, V] of the token after `start`, and after each of tokens [N]."""
    training = model.training
    model.eval()
    tokens = torch.cat([tokens.new_tensor([start]), tokens]).to(model.decoder.weight.device)
    logits, _ = model(tokens[:, None], model.initial_state(1))
    model.train(training)
    return F.softmax(logits[:, 0], dim=-1).cpu()


def trace_lstm(lstm: nn.RNNBase, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """c and the gates i, f, g, o, each [L, N, H], of a text x [N, 1, I]."""
    if not isinstance(lstm, LSTM):  # torch's tells neither
        ours = LSTM(lstm.input_size, lstm.hidden_size, lstm.num_layers).to(x)
        ours.load_state_dict(lstm.state_dict())
        lstm = ours
    *_, cells, gates = lstm(x, return_cells=True, return_gates=True)
    # one text: the batch is of one item
    return cells[:, :, 0], dict(zip(LSTM_GATES, gates[:, :, 0].unbind(2), strict=True))


def _hidden_states(rnn: nn.RNNBase, x: Tensor) -> Tensor:
    """h of all layers [L, N, H], where torch gives the last one's only: one layer at a time."""
    states = []
    for index in range(rnn.num_layers):
        cell = nn.GRU if isinstance(rnn, nn.GRU) else nn.RNN
        layer = cell(x.shape[-1], rnn.hidden_size).to(x)
        layer.load_state_dict(
            {
                name[:-1] + "0": w
                for name, w in rnn.named_parameters()
                if name.endswith(f"_l{index}")
            }
        )
        x, _ = layer(x)
        states.append(x[:, 0])
    return torch.stack(states)


def _trace_gru(gru: nn.GRU, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """h and the gates r (reset), z (update), n (new), each [L, N, H]; nn.GRU's formulas."""
    h = _hidden_states(gru, x)
    layers = []
    for index in range(gru.num_layers):
        w_ih, w_hh, b_ih, b_hh = (
            getattr(gru, f"{name}_l{index}")
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        below = x[:, 0] if index == 0 else h[index - 1]
        before = torch.cat([torch.zeros_like(h[index, :1]), h[index, :-1]])
        from_x = F.linear(below, w_ih, b_ih).chunk(3, dim=1)
        from_h = F.linear(before, w_hh, b_hh).chunk(3, dim=1)
        r, z = (torch.sigmoid(a + b) for a, b in zip(from_x[:2], from_h[:2], strict=True))
        layers.append((r, z, torch.tanh(from_x[2] + r * from_h[2])))
    stacked = (torch.stack(gate) for gate in zip(*layers, strict=True))
    return h, dict(zip(GRU_GATES, stacked, strict=True))
