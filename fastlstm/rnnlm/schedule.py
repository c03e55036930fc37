"""What changes in the course of a run: the learning rate, and when it stalls or ends."""

import math
import random

from fastlstm.rnnlm.config import Config

LR_END = 0.01  # of --lr, where a decay ends
SHORTEST = 5  # tokens of a drawn window
DEVIATION = 5  # tokens: of the lengths drawn
SHORT = 0.05  # of all windows are near half the length
LONGEST = 4 * DEVIATION  # tokens above the length asked for: memory is for so many


def learning_rate(config: Config, step: float, total_steps: int, epoch: int = 0) -> float:
    """The rate of step `step`, 0 <= step < total_steps, in epoch `epoch`, both counted from 0.

    Stalls, which depend on what validation says, are not in it: see `Training.lr_scale`.
    """
    done = min(1.0, step / total_steps)
    rise = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    if config.lr_decay == "cosine":  # Loshchilov and Hutter (2017), one period
        factor = LR_END + (1 - LR_END) * (1 + math.cos(math.pi * done)) / 2
    elif config.lr_decay == "linear":
        factor = LR_END + (1 - LR_END) * (1 - done)
    elif config.lr_decay == "epoch":
        factor = config.lr_factor ** max(0, epoch + 1 - config.lr_hold)
    else:
        factor = 1.0
    return config.lr * rise * factor


def window_length(config: Config, step: int) -> int:
    """Tokens of the window of a step: --window, or as AWD-LSTM draws them (Merity et al., 2017).

    Drawn from the seed and the step alone, so that a resumed run draws the same.
    """
    if config.windows == "fixed":
        return config.window
    draw = random.Random((config.seed << 32) + step)
    centre = config.window / 2 if draw.random() < SHORT else config.window
    return max(SHORTEST, min(int(draw.gauss(centre, DEVIATION)), config.window + LONGEST))
