"""The Zaremba presets step by step against a plain re-derivation of main.lua, in float64.

There the loss of a window is the sum over its steps of the mean over the batch, and so are its
gradients, whose global norm is clipped at 5; the update is SGD at lr, which is halved for each
epoch after the fourth; the state is carried, and starts at zero in each epoch.
"""

import pytest
import torch

from fastlstm.rnnlm.config import make_config
from fastlstm.rnnlm.dataset import Streams
from fastlstm.rnnlm.model import make_model
from fastlstm.rnnlm.training import start_training, train_step

V, H, B, T = 11, 6, 3, 5
WINDOWS = 4  # an epoch


def cell(x, h, c, w):
    """One layer's step, from its four gates."""
    z = x @ w["weight_ih"].T + w["bias_ih"] + h @ w["weight_hh"].T + w["bias_hh"]
    i, f, g, o = z.split(H, dim=1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def layer(weights, number):
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return {name: weights[f"rnn.{name}_l{number}"] for name in names}


def derive(weights, tokens, steps, lr, clip):
    """Losses in nats per token, norms, rates, and the weights after the last step."""
    weights = {name: w.double().requires_grad_() for name, w in weights.items()}
    length = len(tokens) // B
    story = []
    for step in range(steps):
        epoch, window = divmod(step, WINDOWS)
        if window == 0:
            state = [(torch.zeros(B, H).double(), torch.zeros(B, H).double()) for _ in range(2)]
        state = [(h.detach(), c.detach()) for h, c in state]
        total = 0
        for t in range(window * T, (window + 1) * T):
            at = [b * length + t for b in range(B)]
            before = torch.tensor([tokens[k - 1] if k else 0 for k in at])
            x = weights["embedding.weight"][before]
            for number in range(2):
                state[number] = cell(x, *state[number], layer(weights, number))
                x = state[number][0]
            logits = x @ weights["decoder.weight"].T + weights["decoder.bias"]
            logp = logits - logits.exp().sum(1, keepdim=True).log()
            total = total - logp[torch.arange(B), tokens[at]].mean()  # summed over time
        gradients = torch.autograd.grad(total, list(weights.values()))
        norm = sum(float((g * g).sum()) for g in gradients) ** 0.5
        rate = lr * 0.5 ** max(0, epoch + 1 - 4)
        shrink = clip / norm if norm > clip else 1.0
        weights = {
            name: (w - rate * shrink * g).detach().requires_grad_()
            for (name, w), g in zip(weights.items(), gradients, strict=True)
        }
        story.append((float(total.detach()) / T, norm, rate))
    return story, weights


@pytest.mark.parametrize("clip", [5.0, 0.7])
def test_small_step_by_step(clip):
    own = {"hidden": H, "batch": B, "window": T, "clip": clip, "text": "x"}
    config = make_config({"preset": "zaremba-small"} | own)
    torch.manual_seed(1)
    tokens = torch.randint(V, (B * T * WINDOWS,))
    model = make_model(V, config, torch.device("cpu"))
    steps = 7 * WINDOWS
    first = {name: w.detach().clone() for name, w in model.named_parameters()}
    story, last = derive(first, tokens, steps, config.lr, clip)
    training = start_training(model, config)
    streams = Streams(tokens, 0, B, T)
    norms = set()
    for loss, norm, rate in story:
        got_loss, got_norm, clipped = train_step(training, streams, config, steps)
        assert float(got_loss) == pytest.approx(loss, rel=2e-5)
        assert float(got_norm) == pytest.approx(norm, rel=1e-4)
        assert training.lr == rate
        assert bool(clipped) == (norm > clip)
        norms.add(bool(clipped))
    assert (True in norms) == (clip == 0.7)
    for name, weight in model.named_parameters():
        assert (weight - last[name]).norm() < 1e-4 * last[name].norm(), name
    assert training.lr == 0.125  # of the seventh epoch


def test_sizes_of_the_paper():
    """4.65, 19.8 and 66.0 million parameters, as main.lua prints them: it has two biases too."""
    expected = {"small": 4_653_200, "medium": 19_780_400, "large": 66_034_000}
    for size, parameters in expected.items():
        config = make_config({"preset": f"zaremba-{size}", "text": "x"})
        with torch.device("meta"):
            model = make_model(10_000, config, torch.device("meta"))
        assert model.parameter_count == parameters
