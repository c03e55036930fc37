"""The update of the weights: optimizers, clipping, and the mean of the weights over the steps."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from fastlstm.rnnlm.config import Config

SLOTS = {  # what each optimizer keeps for a parameter
    "adam": ("step", "exp_avg", "exp_avg_sq"),
    "adamw": ("step", "exp_avg", "exp_avg_sq"),
    "rmsprop": ("step", "square_avg"),
    "sgd": (),
}


def make_optimizer(model: nn.Module, config: Config) -> Optimizer:
    """Adam, AdamW, RMSprop (decay .95, as char-rnn's) or plain SGD, by `config.optimizer`."""
    weights, decay = list(model.parameters()), config.weight_decay
    if config.optimizer == "adam":
        return Adam(weights, lr=config.lr, weight_decay=decay, fused=True)
    if config.optimizer == "adamw":
        return AdamW(weights, lr=config.lr, weight_decay=decay, fused=True)
    if config.optimizer == "rmsprop":
        return RMSprop(weights, lr=config.lr, alpha=0.95, weight_decay=decay)
    return SGD(weights, lr=config.lr, weight_decay=decay)


def clip_gradients(model: nn.Module, config: Config) -> tuple[Tensor, Tensor]:
    """Clip the gradients; returns their norm before, and the part that was clipped.

    By norm (Pascanu et al., 2013, algorithm 1) that part is 1 or 0, by value it is one of all
    elements.
    """
    weights = [weight for weight in model.parameters() if weight.grad is not None]
    if config.clip_by == "norm":
        norm = nn.utils.clip_grad_norm_(weights, config.clip)
        return norm, (norm > config.clip).float()
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    beyond = sum((gradient.abs() > config.clip).sum() for gradient in gradients)
    share = torch.as_tensor(beyond).float() / sum(gradient.numel() for gradient in gradients)
    nn.utils.clip_grad_value_(weights, config.clip)
    return norm, share


class Mean:
    """The mean of the weights over the steps (Polyak and Juditsky, 1992), in their own dtype."""

    def __init__(self, model: nn.Module) -> None:
        self.count = 0
        self.weights = {name: torch.zeros_like(weight) for name, weight in model.named_parameters()}

    @torch.no_grad()
    def add(self, model: nn.Module) -> None:
        """Take in the weights as they are now."""
        self.count += 1
        for name, weight in model.named_parameters():
            self.weights[name].lerp_(weight, 1 / self.count)


@contextmanager
def judged_weights(model: nn.Module, mean: Mean | None) -> Iterator[None]:
    """Within it the model has the weights that validation judges: the mean, where there is one."""
    if mean is None or mean.count == 0:
        yield
        return
    own = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    set_weights(model, mean.weights)
    try:
        yield
    finally:
        set_weights(model, own)


@torch.no_grad()
def set_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Copy weights into the model's parameters, by their names."""
    for name, parameter in model.named_parameters():
        parameter.copy_(weights[name])
