"""What a run writes down of itself: log.jsonl, speed.jsonl, and TensorBoard's files where asked."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from types import TracebackType
from typing import Any

from fastlstm.rnnlm.distributed import is_first
from fastlstm.rnnlm.evaluation import Score
from fastlstm.rnnlm.guard import Skip
from fastlstm.rnnlm.runs import Run, append_log, append_speed
from fastlstm.rnnlm.training import StepLog

SHOWN = 60  # characters of a skipped window
FOLDER = "tensorboard"  # in the run's


class Journal:
    """Writes log.jsonl and speed.jsonl, and the same numbers for TensorBoard, in the first process.

    RuntimeError where --tensorboard is asked for and not installed.
    """

    def __init__(self, run: Run, step: int) -> None:
        self._run = run
        self._writer: Any = None
        if run.config.tensorboard and is_first():
            self._writer = _make_writer(run, step)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def steps(self, log: StepLog) -> None:
        """A few steps of training."""
        values: dict[str, Any] = {"kind": "train"} | asdict(log)
        values["skips"] = len(log.skips)
        rate = values.pop("tokens_per_second")  # the only one that is never the same
        for name, value in values.items():
            if isinstance(value, float) and not math.isfinite(value):  # JSON has none
                values[name] = None
        self._append(values)
        if is_first():
            append_speed(self._run, log.step, rate)
        values["tokens_per_second"] = rate
        names = ("loss", "grad_norm", "clipped", "lr", "tokens_per_second")
        self._add("train", log.step, {name: values[name] for name in names})

    def validation(self, log: StepLog, score: Score) -> None:
        """A score of the validation part."""
        values = {
            "loss": score.nats,
            "perplexity": score.perplexity,
            "bits_per_character": score.bits_per_character,
        }
        self._append({"kind": "valid", "step": log.step, "epoch": log.epoch} | values)
        self._add("valid", log.step, values)

    def skipped(self, skip: Skip) -> str:
        """A window that was left out; returns the beginning of its text."""
        text = "".join(self._run.vocabulary.decode(skip.tokens))[:SHOWN]
        values = {"kind": "skip"} | asdict(skip)
        del values["tokens"]
        self._append(values | {"text": text})
        return text

    def _append(self, values: Mapping[str, Any]) -> None:
        if is_first():
            append_log(self._run, values)

    def _add(self, group: str, step: int, values: Mapping[str, float | None]) -> None:
        if self._writer is None:
            return
        for name, value in values.items():
            if value is not None:
                self._writer.add_scalar(f"{group}/{name}", value, step)


def _make_writer(run: Run, step: int) -> Any:
    """TensorBoard's writer, which hides what an earlier sitting wrote of later steps."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise RuntimeError(
            "--tensorboard needs tensorboard: pip install 'fastlstm[train]'"
        ) from error
    return SummaryWriter(str(run.path / FOLDER), purge_step=step + 1)
