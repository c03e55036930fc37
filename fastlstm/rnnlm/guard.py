"""What to do with a window that would spoil the weights: skip it, and say where in the text it was.

A window is bad if its loss or gradient is NaN or infinite, or its loss is more than `--spike` times
that of guessing evenly, ln V, which no sound model has. Its update is left out, and the carried
state becomes zero. `IN_A_ROW` bad windows mean that the weights themselves are spoilt: those of the
last validation come back, and the rate is halved.
"""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fastlstm.rnnlm.distributed import all_streams
from fastlstm.rnnlm.model import RNNLM, State
from fastlstm.rnnlm.optimizers import set_weights

if TYPE_CHECKING:
    from fastlstm.rnnlm.training import Training

IN_A_ROW = 3
RETURNS = 3  # to the same weights; then the run ends
LR_FACTOR = 0.5


@dataclass(frozen=True)
class Skip:
    """A window that was left out.

    stream, begin: the worst stream, and the first token of the window in it.
    tokens: what stands there.
    returned: the step whose weights came back, if they did.
    """

    step: int
    reason: str
    stream: int
    begin: int
    tokens: list[int]
    returned: int | None = None


def find_fault(model: RNNLM, loss: Tensor, norm: Tensor) -> str | None:
    """What is wrong with a window of this loss and gradient norm; None for nothing."""
    limit = loss_limit(model)
    value, size = float(loss), float(norm)
    if not math.isfinite(value) or not math.isfinite(size):
        return f"loss {value:.4g}, gradient norm {size:.4g}"
    if value > limit:
        return f"loss {value:.4g}, above --spike {model.config.spike:g} x ln(vocabulary)"
    return None


def loss_limit(model: RNNLM) -> float:
    """The largest loss, in nats, that a sound model can have."""
    return model.config.spike * math.log(model.decoder.out_features)


@torch.no_grad()
def worst_stream(model: RNNLM, inputs: Tensor, targets: Tensor, state: State) -> int:
    """Which stream, of all processes, has the largest loss in a window; draws no random number."""
    training = model.training
    model.eval()
    logits, _ = model(inputs, state)
    model.train(training)
    wanted = targets.view(*inputs.shape, 1)
    losses = -logits.float().log_softmax(-1).gather(-1, wanted).sum((0, 2))
    return int(all_streams(losses.nan_to_num(nan=math.inf), 0).argmax())


def keep_good(training: "Training") -> None:
    """Remember the weights as they are now as good ones."""
    training.good = {
        name: weight.detach().clone() for name, weight in training.model.named_parameters()
    }
    training.good_step, training.returns = training.step, 0


def skip_window(training: "Training", skip: Skip) -> Skip:
    """Leave a window out; RuntimeError where going back did not help either."""
    training.state = training.model.initial_state(training.state[0].shape[1])
    training.bad_in_a_row += 1
    training.step += 1
    if training.bad_in_a_row < IN_A_ROW or training.good is None:
        return skip
    return replace(skip, returned=go_back(training, skip.reason))


def go_back(training: "Training", reason: str) -> int:
    """Bring the last good weights back, at half the rate; the step they are of.

    RuntimeError where that has not helped before.
    """
    if training.good is None or training.returns == RETURNS:
        raise RuntimeError(
            f"training diverged at step {training.step}: {reason}, after going back to step "
            f"{training.good_step} {training.returns} times; a smaller --lr or --clip may help"
        )
    set_weights(training.model, training.good)
    training.bad_in_a_row = 0
    training.returns += 1
    training.lr_scale *= LR_FACTOR
    return training.good_step
