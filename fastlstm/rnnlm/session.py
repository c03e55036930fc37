"""One sitting of a run: train, validate, save, and stop where a checkpoint is."""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from types import FrameType

from fastlstm.rnnlm.checkpoint import save_best, save_last
from fastlstm.rnnlm.dataset import Dataset, Streams
from fastlstm.rnnlm.evaluation import Score, evaluate
from fastlstm.rnnlm.report import Report
from fastlstm.rnnlm.runs import Run, append_log
from fastlstm.rnnlm.training import StepLog, Training, train_steps

SAVE_EVERY = 60.0  # seconds: what a power cut may cost


@contextmanager
def interruption() -> Iterator[Callable[[], bool]]:
    """Hold Ctrl-C and SIGTERM back until the step is done; yields what tells whether one came.

    A second Ctrl-C is not held back. Outside the main thread signals stay as they are.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    came: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)

    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def train_run(
    run: Run, training: Training, dataset: Dataset, streams: Streams, report: Report, until: int
) -> None:
    """Train a run up to step `until`, validating and saving on the way and at the end.

    Returns early, saved, when interrupted. BrokenPipeError, saved, when nobody reads the report.
    RuntimeError when it diverges: the last checkpoint on disk is then from before that.
    """
    total_steps = run.config.total_steps(len(streams))
    eval_every = run.config.eval_every or max(1, total_steps // 10)
    saved = _save(run, training)
    if training.best_step == training.step > 0:  # a crash may have come between last and best
        save_best(run, training)
    with report, interruption() as interrupted:
        try:
            for log in _logs(training, streams, run, until, eval_every, interrupted):
                append_log(run, {"kind": "train"} | asdict(log))
                due = log.step % eval_every == 0 or log.step == total_steps
                score = _validate(run, training, dataset, log) if due else None
                if due or time.monotonic() - saved[1] > SAVE_EVERY:
                    saved = _save(run, training)
                # after the last checkpoint, than which the best one must never be newer
                best = score is not None and training.best_step == log.step
                if best:
                    save_best(run, training)
                report.training(log)
                if score is not None:
                    report.validation(log, score, best)
        except RuntimeError as error:
            kept = f"{run.path} keeps the checkpoint of step {saved[0]}"
            raise RuntimeError(f"{error}; {kept}") from error
        except BrokenPipeError:  # nobody reads our output any more
            _save(run, training)
            raise
        _save(run, training)


def _logs(
    training: Training,
    streams: Streams,
    run: Run,
    until: int,
    eval_every: int,
    interrupted: Callable[[], bool],
) -> Iterator[StepLog]:
    """Train in stretches that end where a validation is due."""
    while training.step < until and not interrupted():
        stop = min(until, (training.step // eval_every + 1) * eval_every)
        yield from train_steps(training, streams, run.config, stop, interrupted)


def _validate(run: Run, training: Training, dataset: Dataset, log: StepLog) -> Score:
    """Evaluate on the whole validation part, log it, and note whether it is the best so far."""
    score = evaluate(training.model, dataset.valid, dataset.vocabulary.start)
    if not math.isfinite(score.nats):
        raise RuntimeError(f"the validation loss is {score.nats} at step {log.step}")
    if score.nats < training.best_loss:
        training.best_loss, training.best_step = score.nats, log.step
    # logged before it is saved: what a crash leaves in the log too early is cut off by resume
    append_log(
        run,
        {
            "kind": "valid",
            "step": log.step,
            "epoch": log.epoch,
            "loss": score.nats,
            "perplexity": score.perplexity,
            "bits_per_character": score.bits_per_character,
        },
    )
    return score


def _save(run: Run, training: Training) -> tuple[int, float]:
    """Save; returns the step and the time."""
    save_last(run, training)
    return training.step, time.monotonic()
