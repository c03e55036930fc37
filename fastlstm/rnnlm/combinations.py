"""Options that do not go together."""

from typing import TYPE_CHECKING

from fastlstm.rnnlm.option import flag

if TYPE_CHECKING:
    from fastlstm.rnnlm.config import Config

OURS_ONLY = ("recurrent_dropout", "zoneout", "weight_drop", "locked_dropout", "reset_at")


def check_combinations(config: "Config") -> None:
    """ValueError names options that exclude each other."""
    if (config.steps is None) == (config.epochs is None):
        raise ValueError("give either --steps or --epochs, not both")
    if config.tied and config.softmax == "adaptive":
        raise ValueError("--tied needs --softmax full: an adaptive one has no such weights")
    if config.tied and not config.embedding_size:
        raise ValueError("--tied needs an embedding, got --embedding 0")
    if config.dropout_embedding and not config.embedding_size:
        raise ValueError("--dropout-embedding needs an embedding, got --embedding 0")
    if config.accumulate > config.batch:
        raise ValueError(
            f"--accumulate must be at most --batch {config.batch}, got {config.accumulate}"
        )
    if config.windows == "awd" and config.window < 10:
        raise ValueError(f"--windows awd needs a --window of at least 10, got {config.window}")
    if config.reset_at == "":
        raise ValueError("--reset-at must not be empty")
    if config.cell == "lstm" and config.implementation == "fastlstm":
        return
    without = [flag(name) for name in OURS_ONLY if getattr(config, name)]
    if config.tied and config.embedding_size != config.hidden:
        without.append("--tied with --embedding other than --hidden")
    if without:
        whose = "--implementation torch" if config.cell == "lstm" else f"--cell {config.cell}"
        raise ValueError(f"{whose} has no {', '.join(without)}: fastlstm's LSTM has")
