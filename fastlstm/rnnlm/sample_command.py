"""`fastlstm sample`: lets a run write. Returns the exit code."""

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from fastlstm.rnnlm.beam import search_beam
from fastlstm.rnnlm.checkpoint import load_weights
from fastlstm.rnnlm.choosing import Choice
from fastlstm.rnnlm.commands import prepare_torch
from fastlstm.rnnlm.generation import generate
from fastlstm.rnnlm.model import RNNLM, make_model
from fastlstm.rnnlm.prompt import read_prime
from fastlstm.rnnlm.runs import Run, open_run
from fastlstm.rnnlm.stopping import Ending
from fastlstm.rnnlm.training_options import SEEDS
from fastlstm.rnnlm.writing import write_text


def run_sample(args: argparse.Namespace) -> int:
    """Write the prompt and what the model makes of it to standard output, as it comes."""
    _check(args)
    stops = [stop.replace("\\n", "\n") for stop in args.stop]
    run = open_run(Path(args.run_path))
    unknown = _unknown_token(run) if args.no_unknown else None
    choice = Choice(args.temperature, args.top_k, args.top_p, unknown)
    prime = read_prime(args, run)
    device = prepare_torch(args.device or run.config.device, args.threads)
    model = make_model(len(run.vocabulary), run.config, device)
    load_weights(run, args.checkpoint, model)
    if args.beam is not None:
        _write_beams(args, run, model, prime, stops, unknown)
        return 0
    seeds = [args.seed + index for index in range(args.samples)]
    tokens = generate(model, [run.vocabulary.start, *prime], choice, seeds)
    if args.samples == 1:
        write_text(run.vocabulary, prime, (row[0] for row in islice(tokens, args.length)), stops)
        return 0
    samples = _collect(tokens, args.length, args.samples, Ending(run.vocabulary, stops))
    for index, sample in enumerate(samples):
        print(f"--- sample {index + 1} of {args.samples}, seed {seeds[index]}")
        write_text(run.vocabulary, prime, iter(sample), stops)
    return 0


def _check(args: argparse.Namespace) -> None:
    for option, value in (("--length", args.length), ("--samples", args.samples)):
        if value < 1:
            raise ValueError(f"{option} must be at least 1, got {value}")
    if not 0 <= args.seed <= SEEDS - args.samples:
        raise ValueError(f"--seed must be at least 0 and below {SEEDS}, got {args.seed}")
    if args.beam is None:
        return
    if args.beam < args.samples:
        raise ValueError(f"--beam must be at least --samples, {args.samples}, got {args.beam}")
    for option in ("top_k", "top_p"):
        if getattr(args, option) is not None:
            raise ValueError(
                f"--beam leaves nothing to chance: leave out --{option.replace('_', '-')}"
            )


def _unknown_token(run: Run) -> int | None:
    """The number of `<unk>`: None at a level that has none."""
    return 0 if run.vocabulary.count_unknown(run.vocabulary.encode(b"\0")) else None


def _collect(
    tokens: Iterator[list[int]], length: int, count: int, is_end: Ending
) -> list[list[int]]:
    """The tokens of each of several samples, until all have ended."""
    samples: list[list[int]] = [[] for _ in range(count)]
    going = set(range(count))
    for row in islice(tokens, length):
        for index in sorted(going):
            samples[index].append(row[index])
            if is_end(samples[index]):
                going.remove(index)
        if not going:
            break
    return samples


def _write_beams(
    args: argparse.Namespace,
    run: Run,
    model: RNNLM,
    prime: list[int],
    stops: list[str],
    unknown: int | None,
) -> None:
    """Show the likeliest texts, each with its log probability."""
    prompt, is_end = [run.vocabulary.start, *prime], Ending(run.vocabulary, stops)
    found = search_beam(model, prompt, args.beam, args.length, is_end, unknown)
    for index, hypothesis in enumerate(found[: args.samples]):
        if args.samples > 1:
            nats = hypothesis.log_probability
            print(f"--- {index + 1} of {args.samples}, log probability {nats:.4f} nats")
        write_text(run.vocabulary, prime, hypothesis.tokens, stops)
