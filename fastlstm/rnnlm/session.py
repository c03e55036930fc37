"""One sitting of a run: train, validate, save, and stop where a checkpoint is."""

import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from fastlstm.rnnlm.checkpoint import save_best, save_last
from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.dataset import Dataset, Streams
from fastlstm.rnnlm.distributed import any_process, clock, from_first, is_first, processes
from fastlstm.rnnlm.evaluation import Score, evaluate
from fastlstm.rnnlm.guard import go_back, keep_good, loss_limit
from fastlstm.rnnlm.journal import Journal
from fastlstm.rnnlm.optimizers import judged_weights
from fastlstm.rnnlm.report import Report
from fastlstm.rnnlm.runs import Run, cut_log
from fastlstm.rnnlm.stalls import conclude
from fastlstm.rnnlm.training import StepLog, Training, train_steps

SAVE_EVERY = 60.0  # seconds: what a power cut may cost


@contextmanager
def interruption() -> Iterator[Callable[[], bool]]:
    """Hold Ctrl-C and SIGTERM back until the step is done; yields what tells whether one came.

    To any of the processes that train together, which must ask at the same time. A second Ctrl-C is
    not held back. Outside the main thread signals stay as they are.
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
        yield lambda: any_process(bool(came))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def train_run(
    run: Run, training: Training, dataset: Dataset, streams: Streams, report: Report, until: int
) -> None:
    """Train a run up to step `until`, validating and saving on the way and at the end.

    Returns early, saved, when interrupted, or when a budget or a stall ends the run.
    BrokenPipeError, saved, when nobody reads the report. RuntimeError when it diverges: the last
    checkpoint on disk is then from before that.
    """
    total_steps = report.total_steps
    eval_every = _eval_every(run.config, total_steps, streams)
    saved = _begin(run, training)
    with report, interruption() as interrupted, Journal(run, training.step) as journal:
        try:
            for log in _logs(training, streams, run, until, eval_every, interrupted):
                journal.steps(log)
                for skip in log.skips:
                    report.skipped(skip, journal.skipped(skip))
                last = log.step == total_steps or bool(training.ended)
                due = last or log.step % eval_every == 0
                score = _validate(run, training, dataset, log, journal, report) if due else None
                if due or clock() - saved[1] > SAVE_EVERY:
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
        except OSError as error:  # no room for our output
            if processes() == 1:
                saved = _save(run, training)
            kept = f"{run.path} keeps the checkpoint of step {saved[0]}"
            raise RuntimeError(f"cannot write the report: {error.strerror}; {kept}") from error
        _save(run, training)
    if math.isinf(training.best_loss) and (training.ended or training.step == total_steps):
        raise RuntimeError(f"training diverged: {run.path} has no weights that validate")


def mend_run(run: Run, training: Training) -> None:
    """Take back what a crash left after the last checkpoint, and make up for what it kept away."""
    if is_first():
        cut_log(run, training.step)
    if training.best_step == training.step > 0:  # it may have come between last and best
        save_best(run, training)


def _begin(run: Run, training: Training) -> tuple[int, float]:
    """Save what a sitting begins with; returns the step and the time."""
    if training.good is None:
        keep_good(training)
    return _save(run, training)


def _eval_every(config: Config, total_steps: int, streams: Streams) -> int:
    """Steps between validations: where stalls count, an epoch, as those who published them took."""
    if config.eval_every is not None:
        return config.eval_every
    stalls = config.lr_decay in ("stall", "newbob") or config.average == "stall"
    if stalls and config.epochs is not None:
        return max(1, config.windows_per_epoch(streams.length * config.batch))
    return max(1, total_steps // 10)


def _logs(
    training: Training,
    streams: Streams,
    run: Run,
    until: int,
    eval_every: int,
    interrupted: Callable[[], bool],
) -> Iterator[StepLog]:
    """Train in stretches that end where a validation is due, and note whose time is up."""
    before, began = training.seconds, clock()
    budget = math.inf if run.config.time_budget is None else 60 * run.config.time_budget
    while training.step < until and not training.ended and not interrupted():
        stop = min(until, (training.step // eval_every + 1) * eval_every)
        for log in train_steps(training, streams, run.config, stop, interrupted):
            training.seconds = before + clock() - began
            if training.seconds >= budget:
                training.ended = f"--time-budget {run.config.time_budget:g} is used up"
            yield log
            if training.ended:
                return


def _validate(
    run: Run,
    training: Training,
    dataset: Dataset,
    log: StepLog,
    journal: Journal,
    report: Report,
) -> Score | None:
    """Evaluate on the whole validation part, log it, and draw conclusions from it.

    None where the weights are spoilt, and those of the last validation have come back.
    """
    with judged_weights(training.model, training.mean):
        model, valid, start = training.model, dataset.valid, dataset.vocabulary.start
        score = from_first(lambda: evaluate(model, valid, start))
    if not score.nats <= loss_limit(training.model):  # NaN too
        step = go_back(training, f"the validation loss is {score.nats:.4g}")
        report.returned(log.step, score.nats, step)
        return None
    conclude(training, run.config, score.nats)
    keep_good(training)
    # logged before it is saved: what a crash leaves in the log too early is cut off by resume
    journal.validation(log, score)
    return score


def _save(run: Run, training: Training) -> tuple[int, float]:
    """Save; returns the step and the time."""
    save_last(run, training)
    return training.step, clock()
