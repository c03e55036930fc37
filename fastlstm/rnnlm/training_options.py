"""The options of a run that say how it trains."""

from dataclasses import dataclass

from fastlstm.rnnlm.option import option

SEEDS = 2**63  # all that fit into a signed word


@dataclass(frozen=True)
class TrainingOptions:
    """The options of a run that say how it trains."""

    batch: int = option(50, "parallel streams of text", int, at_least=1)
    window: int = option(50, "tokens per window of truncated BPTT", int, at_least=1)
    steps: int | None = option(2000, "length of the run in windows", int, at_least=1)
    epochs: float | None = option(
        None, "length of the run in passes over the text, instead of --steps", float, above=0
    )
    optimizer: str = option("adam", "optimizer", str, choices=("adam", "rmsprop", "sgd"))
    lr: float = option(1e-2, "learning rate at the start", float, above=0)
    lr_decay: str = option(
        "cosine",
        "decay of the learning rate, to 1%% at the end of the run",
        str,
        choices=("cosine", "linear", "none"),
    )
    clip: float = option(5.0, "largest global norm of the gradient", float, above=0)
    eval_every: int | None = option(None, "steps between validations", int, at_least=1)
    seed: int = option(123, "seed of the weights and of dropout", int, at_least=0, below=SEEDS)
    threads: int | None = option(None, "CPU threads", int, at_least=1)
    device: str = option("auto", "where to compute", str, choices=("auto", "cpu", "cuda"))
