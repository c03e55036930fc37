"""The text that a sample goes on from."""

import argparse
import sys
from itertools import islice
from pathlib import Path

from fastlstm.rnnlm.chunks import check_utf8
from fastlstm.rnnlm.files import read_text
from fastlstm.rnnlm.runs import Run


def read_prime(args: argparse.Namespace, run: Run) -> list[int]:
    """The prompt's tokens; what the vocabulary does not hold is `<unk>`, and said."""
    data: bytes = args.prime.encode("utf-8", "surrogateescape")
    origin = "--prime"
    if args.prime_file == "-":
        data, origin = sys.stdin.buffer.read(), "standard input"
    elif args.prime_file is not None:
        data, origin = read_text(Path(args.prime_file), run.config.field), args.prime_file
    if run.config.level != "byte":
        check_utf8([data], origin)
    tokens = run.vocabulary.encode(data)
    unknown = run.vocabulary.count_unknown(tokens)
    prime: list[int] = tokens.tolist()
    if unknown:
        print(f"note: {_name_unknown(run, data, prime, unknown)}", file=sys.stderr)
    return prime


def _name_unknown(run: Run, data: bytes, tokens: list[int], unknown: int) -> str:
    """What of a prompt is not in the vocabulary, its first few by name."""
    pairs = zip(run.vocabulary.pieces(data.decode()), tokens, strict=True)
    new = dict.fromkeys(piece for piece, token in pairs if token == 0)
    names = ", ".join(map(repr, islice(new, 3)))
    return f"{unknown} tokens of the prompt are not in the run's vocabulary, read as <unk>: {names}"
