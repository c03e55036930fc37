"""`fastlstm eval`: how well a run predicts a text. Returns the exit code."""

import argparse
import math
import sys
from pathlib import Path

from torch import Tensor

from fastlstm.rnnlm.checkpoint import load_weights
from fastlstm.rnnlm.chunks import check_utf8
from fastlstm.rnnlm.commands import dataset_of, prepare_torch
from fastlstm.rnnlm.dataset import Text, encode_text, part_of
from fastlstm.rnnlm.dynamic import Dynamic, dynamic_losses, root_mean_squares
from fastlstm.rnnlm.eval_tables import print_baselines, print_context, write_scores
from fastlstm.rnnlm.evaluation import score_of, token_losses
from fastlstm.rnnlm.files import read_text
from fastlstm.rnnlm.model import RNNLM, make_model
from fastlstm.rnnlm.neural_cache import Cache, cache_losses
from fastlstm.rnnlm.report import describe, describe_unknown, make_console
from fastlstm.rnnlm.rescoring import read_candidates, rescore
from fastlstm.rnnlm.runs import Run, open_run

PARTS = {"train": "training part", "valid": "validation part", "test": "test part"}


def run_eval(args: argparse.Namespace) -> int:
    """Print the score of a run on a text, by default on its own validation part."""
    dynamic, cache = _check(args)
    run = open_run(Path(args.run_path))
    device = prepare_torch(args.device or run.config.device, args.threads)
    model = make_model(len(run.vocabulary), run.config, device)
    step = load_weights(run, args.checkpoint, model)
    if args.nbest is not None:
        return _print_nbest(args, run, model)
    data, origin, text = _read_text(args, run)
    losses = _losses(args, run, model, text, dynamic, cache)
    score = score_of(losses, text)
    if args.scores == "-":
        write_scores(sys.stdout, run.vocabulary, text, losses)
        return 0
    print(f"{args.checkpoint} checkpoint, step {step}; {origin}, {score.tokens:,} tokens")
    print(describe(score, run.config.level))
    if text.unknown:
        print(describe_unknown(text.unknown, run.config.level))
    if args.scores is not None:
        with Path(args.scores).open("w", encoding="utf-8") as file:
            write_scores(file, run.vocabulary, text, losses)
    console = make_console()
    if args.baselines:
        print_baselines(console, run, data, origin, text, score)
    if args.context is not None:
        print_context(console, run, model, text, losses, args.context, args.baselines)
    return 0


def _check(args: argparse.Namespace) -> tuple[Dynamic | None, Cache | None]:
    """The two kinds of memory that may be asked for; ValueError for a wrong option."""
    if args.dynamic is not None and args.cache is not None:
        raise ValueError("give either --dynamic or --cache, not both")
    if args.part is not None and args.text is not None:
        raise ValueError("--part is of the run's own text: give it or TEXT, not both")
    if args.context is not None and args.context < 1:
        raise ValueError(f"--context must be at least 1, got {args.context}")
    if not math.isfinite(args.nbest_weight):
        raise ValueError(f"--nbest-weight must be a finite number, got {args.nbest_weight}")
    dynamic = cache = None
    if args.dynamic is not None:
        dynamic = Dynamic(args.dynamic, args.dynamic_decay, args.dynamic_segment)
    if args.cache is not None:
        cache = Cache(args.cache, args.cache_theta, args.cache_lambda)
    return dynamic, cache


def _read_text(args: argparse.Namespace, run: Run) -> tuple[bytes | str, str, Text]:
    """Bytes, origin and tokens of what to measure on; for bytes the part of the run's own text."""
    if args.text is None:
        part = args.part or "valid"
        return part, PARTS[part], part_of(dataset_of(run), part)
    data = read_text(Path(args.text), run.config.field)
    if run.config.level != "byte":
        check_utf8([data], args.text)
    return data, args.text, encode_text(run.vocabulary, data)


def _losses(
    args: argparse.Namespace,
    run: Run,
    model: RNNLM,
    text: Text,
    dynamic: Dynamic | None,
    cache: Cache | None,
) -> Tensor:
    """-ln p of each token of the text [N], under the kind of memory that was asked for."""
    start = run.vocabulary.start
    if cache is not None:
        return cache_losses(model, text.tokens, start, cache)
    if dynamic is None:
        return token_losses(model, text.tokens, start)
    roots = None
    if args.dynamic_rule == "rms":
        train = dataset_of(run).train.tokens
        roots = root_mean_squares(model, train, start, dynamic.segment)
    losses = dynamic_losses(model, text.tokens, start, dynamic, roots)
    if not losses.isfinite().all():
        raise RuntimeError(f"the model diverged: --dynamic {args.dynamic} is too large")
    return losses


def _print_nbest(args: argparse.Namespace, run: Run, model: RNNLM) -> int:
    """Print each list of the file, the best text first."""
    if args.nbest == "-":
        data, origin = sys.stdin.buffer.read(), "standard input"
    else:
        data, origin = read_text(Path(args.nbest)), args.nbest
    check_utf8([data], origin)
    for number, candidates in enumerate(read_candidates(data.decode())):
        if number:
            print()
        for total, nats, candidate in rescore(model, run.vocabulary, candidates, args.nbest_weight):
            own = [] if candidate.score is None else [f"{candidate.score:g}"]
            print("\t".join([f"{total:.4f}", f"{nats:.4f}", *own, candidate.text]))
    return 0
