"""The commands train, resume and inspect. Each returns the exit code."""

import argparse
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from fastlstm.rnnlm.arguments import given_options
from fastlstm.rnnlm.checkpoint import load_training, load_weights
from fastlstm.rnnlm.comparison import compare_training
from fastlstm.rnnlm.config import make_config
from fastlstm.rnnlm.corpus import is_file, read_corpus
from fastlstm.rnnlm.dataset import Dataset, make_dataset, make_streams
from fastlstm.rnnlm.distributed import from_first, is_first, join, launched
from fastlstm.rnnlm.durable import only_process
from fastlstm.rnnlm.folds import run_folds
from fastlstm.rnnlm.model import make_model, set_reset_token
from fastlstm.rnnlm.preset_report import print_expected_time, print_preset, print_verdict
from fastlstm.rnnlm.report import Report, make_console, print_header
from fastlstm.rnnlm.result import floor_scores, print_result, print_validation
from fastlstm.rnnlm.runs import (
    Run,
    check_unused,
    create_run,
    never_saved,
    open_run,
    save_config,
    unused_path,
)
from fastlstm.rnnlm.session import mend_run, train_run
from fastlstm.rnnlm.training import Training, start_training
from fastlstm.rnnlm.verdict import print_comparison

MISSED = 1  # exit code of `verify PRESET` whose figure is not reached
STOPPED = 130  # exit code of an interrupted run, as a shell gives it for Ctrl-C


def run_train(args: argparse.Namespace) -> int:
    """Train a new run, or with --verify compare fastlstm with torch.nn.LSTM and save nothing."""
    given = given_options(args)
    config = make_config(given, args.verify)
    console = make_console()
    print_preset(console, config, given)
    if is_file(config.text):
        config = replace(config, text=str(Path(config.text).absolute()))
    _check_unsaved(args)
    if not args.verify and args.folds is None:
        check_unused(unused_path("text") if args.out is None else Path(args.out))
    until = _until(args.stop_after, 0)
    device = join(prepare_torch(config.device, config.threads), config.batch)
    corpus = read_corpus(config)
    if args.folds is not None:
        return 0 if run_folds(console, corpus, config, args.folds, device) else STOPPED
    dataset = make_dataset(corpus, config)
    model = make_model(len(dataset.vocabulary), config, device)
    set_reset_token(model, dataset.vocabulary)
    print_header(console, corpus, dataset, config, model.parameter_count)
    if args.verify:
        return print_comparison(console, compare_training(dataset, config, device), config)
    print_validation(console, dataset, floor_scores(dataset), config)
    print_expected_time(console, model, dataset, config)
    path = unused_path(corpus.name) if args.out is None else Path(args.out)
    run = from_first(lambda: create_run(path, config, dataset.vocabulary, corpus.sha256))
    with _sole(run):
        code = _train(console, run, start_training(model, config), dataset, until)
    return 0 if code == MISSED and not args.judge else code


def run_resume(args: argparse.Namespace) -> int:
    """Go on with a run where its last checkpoint was written, or begin where there is none yet."""
    run = open_run(Path(args.run_path))
    with _sole(run):
        return _resume(args, run)


def _resume(args: argparse.Namespace, run: Run) -> int:
    if args.steps is not None:
        run = replace(run, config=replace(run.config, steps=args.steps, epochs=None))
    config = run.config
    threads = config.threads if args.threads is None else args.threads
    device = join(prepare_torch(args.device or config.device, threads), config.batch)
    dataset = dataset_of(run)
    training = start_training(make_model(len(run.vocabulary), config, device), config)
    if not never_saved(run):
        load_training(run, training)
    if args.steps is not None and args.steps <= training.step:
        raise ValueError(f"--steps must be above {training.step}, got {args.steps}")
    until = _until(args.stop_after, training.step)
    mend_run(run, training)
    console = make_console()
    total_steps = config.total_steps(config.windows_per_epoch(len(dataset.train.tokens)))
    if training.ended and args.steps is None:
        console.print(f"{run.path} has ended: {training.ended}; --steps N goes on to step N")
        return 0
    training.ended = ""
    if training.step >= total_steps:
        console.print(f"{run.path} has done its {total_steps} steps; --steps N goes on to step N")
        return 0
    if is_first() and args.steps is not None:
        save_config(run)
    console.print(f"resuming {run.path} at step {training.step}/{total_steps}")
    code = _train(console, run, training, dataset, until)
    return 0 if code == MISSED else code


def run_inspect(args: argparse.Namespace) -> int:
    """Draw what a run learnt: an HTML report and PNG pictures."""
    # here, because no other command needs matplotlib
    from fastlstm.rnnlm.inspect.command import inspect_run

    return inspect_run(args, prepare_torch, dataset_of)


def _train(
    console: Console, run: Run, training: Training, dataset: Dataset, until: int | None
) -> int:
    """Train a run to its end, or to `until`, and show what came of it."""
    config = run.config
    device = training.model.decoder.weight.device
    streams = make_streams(dataset, config, device)
    total_steps = config.total_steps(config.windows_per_epoch(len(dataset.train.tokens)))
    stop = total_steps if until is None else min(until, total_steps)
    report = Report(console, config.level, total_steps, training.step)
    train_run(run, training, dataset, streams, report, stop)
    if training.ended:
        console.print(f"ended at step {training.step}/{total_steps}: {training.ended}")
    elif training.step < total_steps:
        console.print(f"stopped at step {training.step}/{total_steps}, saved")
        console.print(f"go on with: fastlstm resume {run.path}")
        return 0 if training.step == until else STOPPED
    if not is_first():
        return 0
    load_weights(run, "best", training.model)
    print_result(console, run, training, dataset)
    return 0 if print_verdict(console, training.model, dataset, config) else MISSED


def _sole(run: Run) -> AbstractContextManager[None]:
    """Within it no other process trains the run, but those that train with this one."""
    return only_process(run.path) if is_first() else nullcontext()


def dataset_of(run: Run) -> Dataset:
    """The dataset a run was trained on; ValueError where its text is no longer the same."""
    corpus = read_corpus(run.config)
    if corpus.sha256 != run.sha256:
        raise ValueError(
            f"{corpus.origin} has changed since {run.path} was trained on it: its sha256 is "
            f"{corpus.sha256}, the run's is {run.sha256}"
        )
    return make_dataset(corpus, run.config, run.vocabulary)


def _check_unsaved(args: argparse.Namespace) -> None:
    """ValueError where --verify or --folds meet an option of what is saved."""
    own = [name for name in ("verify", "folds") if getattr(args, name) not in (None, False)]
    if args.verify and launched():
        raise ValueError("--verify compares in one process: start it without torchrun")
    if len(own) == 2:
        raise ValueError("give either --folds or --verify, not both")
    if args.folds is not None and args.folds < 2:
        raise ValueError(f"--folds must be at least 2, got {args.folds}")
    for option, value in (("--out", args.out), ("--stop-after", args.stop_after)):
        if own and value is not None:
            raise ValueError(f"--{own[0]} saves nothing: leave out {option}")


def _until(stop_after: int | None, step: int) -> int | None:
    """Check --stop-after against the step where training starts."""
    if stop_after is not None and stop_after <= step:
        raise ValueError(f"--stop-after must be above {step}, got {stop_after}")
    return stop_after


def prepare_torch(name: str, threads: int | None) -> torch.device:
    """The device by its name; sets torch's threads. RuntimeError where there is no such device.

    Results are then the same in any number of threads.
    """
    # read by MKL before its first product: sums of a product in an order that threads don't change
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
    if threads is not None:
        if threads < 1:
            raise ValueError(f"--threads must be at least 1, got {threads}")
        torch.set_num_threads(threads)
    if name == "cuda" and not torch.cuda.is_available():
        raise RuntimeError(
            "--device cuda: this machine has no CUDA device that torch can use; try --device cpu"
        )
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
