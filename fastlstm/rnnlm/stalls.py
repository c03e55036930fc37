"""What a validation changes in a run: its best loss, its rate, when averaging begins, its end."""

import math

from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.optimizers import Mean
from fastlstm.rnnlm.training import Training


def conclude(training: Training, config: Config, loss: float) -> None:
    """Take in the validation loss of the current step, in nats."""
    best = min(training.valid_losses, default=math.inf)
    training.valid_losses.append(loss)
    if loss < training.best_loss:
        training.best_loss, training.best_step = loss, training.step
    if loss * config.min_improvement < best:
        training.waited = 0
    else:
        training.waited += 1
    stalled = training.waited > config.patience
    if config.lr_decay == "stall" and stalled:
        training.lr_scale *= config.lr_factor
        training.waited = 0
    if config.lr_decay == "newbob":
        _newbob(training, config, stalled)
    if config.average == "stall" and training.mean is None and averaging_begins(config, training):
        training.mean = Mean(training.model)
    since = len(training.valid_losses) - 1 - training.valid_losses.index(min(training.valid_losses))
    if config.early_stop is not None and since >= config.early_stop:
        training.ended = f"{since} validations in a row were no better"


def _newbob(training: Training, config: Config, stalled: bool) -> None:
    """Lower the rate at each validation from the first stall on; the second one ends the run."""
    if stalled:
        training.stalls += 1
        training.waited = 0
    if training.stalls == 2:
        training.ended = "validation stalled for the second time"
    elif training.stalls == 1:
        training.lr_scale *= config.lr_factor


def averaging_begins(config: Config, training: Training) -> bool:
    """NT-ASGD's rule (Merity et al., 2017).

    The newest loss is worse than the best of those before the last `config.nonmono`.
    """
    *before, newest = training.valid_losses
    old = before[: max(0, len(before) - config.nonmono)]
    return bool(old) and newest > min(old)
