"""The options of a run that say how it trains."""

from dataclasses import dataclass

from fastlstm.rnnlm.option import option
from fastlstm.rnnlm.presets import PRESETS

SEEDS = 2**63  # all that fit into a signed word


@dataclass(frozen=True)
class TrainingOptions:
    """The options of a run that say how it trains."""

    preset: str | None = option(
        None,
        "a published run: all its options, but those given beside it",
        str,
        choices=tuple(PRESETS),
    )
    batch: int = option(
        50, "parallel streams of text; under torchrun, of all processes together", int, at_least=1
    )
    accumulate: int = option(
        1,
        "parts that the batch is computed in, one after the other, their gradients added up: the "
        "same result in less memory",
        int,
        at_least=1,
    )
    window: int = option(50, "tokens per window of truncated BPTT", int, at_least=1)
    windows: str = option(
        "fixed",
        "lengths of the windows: all the same; or drawn anew for each step as by AWD-LSTM, near "
        "--window, one in 20 near half of it, the rate in proportion",
        str,
        choices=("fixed", "awd"),
    )
    steps: int | None = option(2000, "length of the run in windows", int, at_least=1)
    epochs: float | None = option(
        None, "length of the run in passes over the text, instead of --steps", float, above=0
    )
    time_budget: float | None = option(
        None,
        "end the run after so many minutes, with the rate where it would be at its end; such a run "
        "depends on the machine's speed",
        float,
        above=0,
    )
    early_stop: int | None = option(
        None, "end the run when so many validations in a row bring no better loss", int, at_least=1
    )
    optimizer: str = option("adam", "optimizer", str, choices=("adam", "adamw", "rmsprop", "sgd"))
    weight_decay: float = option(
        0.0, "pulls weights to zero: added to the gradient, or AdamW's own", float, at_least=0
    )
    average: str = option(
        "none",
        "judge and keep the mean of the weights over the steps: of all of them, or of those from "
        "the first stall on, which with --optimizer sgd is NT-ASGD",
        str,
        choices=("none", "stall", "always"),
    )
    nonmono: int = option(
        5,
        "--average stall: validations that a loss is not held against; it must be worse than the "
        "best before them",
        int,
        at_least=0,
    )
    lr: float = option(1e-2, "learning rate at the start", float, above=0)
    lr_decay: str = option(
        "cosine",
        "decay of the learning rate: cosine or linear, to 1%% at the end of the run; none; epoch, "
        "by --lr-factor at each epoch after --lr-hold of them; stall, by it when validation "
        "stalls; "
        "newbob, by it at each validation from the first stall to the second, which ends the run",
        str,
        choices=("cosine", "linear", "none", "epoch", "stall", "newbob"),
    )
    lr_factor: float = option(
        0.5, "what --lr-decay epoch, stall and newbob multiply the rate by", float, above=0, below=1
    )
    lr_hold: int = option(0, "epochs before --lr-decay epoch begins", int, at_least=0)
    patience: int = option(
        0, "validations without a better loss that are no stall yet", int, at_least=0
    )
    min_improvement: float = option(
        1.0, "the ratio of the best loss so far to one that counts as better", float, at_least=1
    )
    warmup: int = option(0, "steps in which the rate rises to --lr", int, at_least=0)
    loss: str = option(
        "mean",
        "over the steps of a window: their mean; or their sum, as in Zaremba's program and in "
        "char-rnn, whose gradient is --window times as large, which --lr and --clip must fit",
        str,
        choices=("mean", "sum"),
    )
    clip: float = option(5.0, "largest gradient: see --clip-by", float, above=0)
    clip_by: str = option(
        "norm",
        "what --clip limits: the norm of the whole gradient, or each of its elements",
        str,
        choices=("norm", "value"),
    )
    spike: float = option(
        3.0,
        "skip a window whose loss is more than so many times that of guessing evenly, as one whose "
        "loss or gradient is NaN; three such in a row bring the last good weights back",
        float,
        above=0,
    )
    activation_penalty: float = option(
        0.0, "AWD-LSTM's alpha: of the squares of the last layer's output", float, at_least=0
    )
    slowness_penalty: float = option(
        0.0, "AWD-LSTM's beta: of the squares of its changes from step to step", float, at_least=0
    )
    precision: str = option(
        "float32",
        "what products are computed in; bf16: torch.autocast, with weights, loss and update in "
        "float32",
        str,
        choices=("float32", "bf16"),
    )
    eval_every: int | None = option(None, "steps between validations", int, at_least=1)
    tensorboard: bool = option(
        False, "log for TensorBoard too, in the run's folder tensorboard", bool
    )
    seed: int = option(123, "seed of the weights and of dropout", int, at_least=0, below=SEEDS)
    threads: int | None = option(None, "CPU threads, of each process", int, at_least=1)
    device: str = option("auto", "where to compute", str, choices=("auto", "cpu", "cuda"))
