"""A seeded fuzzer of what the trainer reads: `--seconds`, `--count`, `--seed`, `--reader NAME`.

A reader may take what it is given, or refuse it with a ValueError or RuntimeError; whatever else it
raises is a finding, printed with the seed that shows it. What it takes must be of use.
"""

import argparse
import gzip
import json
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
import zstandard
from fuzz_mutations import mutate_bytes, mutate_tensors, mutate_value
from safetensors.torch import save_file
from trainer_commands import SENTENCE, SMALL, make_text, tensors_of

from fastlstm.cli import main
from fastlstm.rnnlm.checkpoint import load_training, load_weights
from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.corpus import read_corpus
from fastlstm.rnnlm.dataset import Streams, make_dataset
from fastlstm.rnnlm.model import make_model
from fastlstm.rnnlm.runs import cut_log, open_run, read_log
from fastlstm.rnnlm.saved import digest_of
from fastlstm.rnnlm.tokenfile import map_tokens, read_header
from fastlstm.rnnlm.training import start_training, train_step
from fastlstm.rnnlm.vocabularies import build_vocabulary, vocabulary_from_json

LEVELS = ("byte", "char", "word", "bpe", "zh-word")


class Fuzzer:
    """Readers, each with sound input that is to be spoilt, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.run = folder, folder / "run"
        self.text = make_text(folder)
        train = ["train", str(self.text), *SMALL, "--cache", str(folder / "cache")]
        shown, sys.stdout = sys.stdout, open(folder / "out", "w")  # noqa: SIM115
        try:
            assert main([*train, "--average", "always", "--out", str(self.run)]) == 0
        finally:
            sys.stdout.close()
            sys.stdout = shown
        self.config = (self.run / "config.json").read_bytes()
        self.log = (self.run / "log.jsonl").read_bytes()
        self.checkpoint = (self.run / "last.safetensors").read_bytes()
        self.tensors, self.progress = tensors_of(self.run / "last.safetensors")
        self.opened = open_run(self.run)
        config = self.opened.config
        self.model = make_model(len(self.opened.vocabulary), config, torch.device("cpu"))
        self.streams = Streams(torch.arange(400) % 9, 0, config.batch, config.window)
        chunk = [SENTENCE.encode() * 9]
        self.vocabularies = [build_vocabulary(level, chunk, 300).to_json() for level in LEVELS]
        (self.tokens,) = (folder / "cache" / "tokens").iterdir()
        self.header = self.tokens.read_bytes()

    def read_config(self, chance: random.Random) -> None:
        """config.json."""
        if chance.random() < 0.5:
            data = mutate_bytes(chance, self.config)
        else:
            data = json.dumps(mutate_value(chance, json.loads(self.config))).encode()
        (self.run / "config.json").write_bytes(data)
        config = open_run(self.run).config
        assert Config.from_json(config.to_json()) == config

    def read_vocabulary(self, chance: random.Random) -> None:
        """vocabulary.json, of each level."""
        values = mutate_value(chance, chance.choice(self.vocabularies))
        if chance.random() < 0.3:
            values = mutate_value(chance, values)
        vocabulary = vocabulary_from_json(values)
        tokens = vocabulary.encode((SENTENCE * 2 + "neue Wörter").encode())
        assert len(tokens) == 0 or (tokens.min() >= 0 and tokens.max() < len(vocabulary))
        for piece in vocabulary.decode(range(len(vocabulary))):
            piece.encode()
        assert vocabulary_from_json(vocabulary.to_json()).to_json() == vocabulary.to_json()

    def read_checkpoint(self, chance: random.Random) -> None:
        """last.safetensors, damaged by chance, or made with its sha256 put right."""
        path = self.run / "last.safetensors"
        (self.run / "config.json").write_bytes(self.config)
        if chance.random() < 0.4:
            path.write_bytes(mutate_bytes(chance, self.checkpoint))
        else:
            tensors, progress = dict(self.tensors), dict(self.progress)
            if chance.random() < 0.5:
                mutate_tensors(chance, tensors)
            else:
                more = json.loads(progress["more"])
                progress["more"] = json.dumps(mutate_value(chance, more))
                mutated = mutate_value(chance, progress)
                if chance.random() < 0.5 and isinstance(mutated, dict):
                    pairs = [(str(key), str(value)) for key, value in mutated.items()]
                    progress = {key: value for key, value in pairs if (key + value).isprintable()}
            progress["sha256"] = digest_of(tensors, _plain(progress))
            save_file({k: t.contiguous().clone() for k, t in tensors.items()}, path, progress)
        load_weights(self.opened, "last", self.model)
        training = start_training(self.model, self.opened.config)
        load_training(self.opened, training)
        train_step(training, self.streams, self.opened.config, 1000)

    def read_text(self, chance: random.Random) -> None:
        """A text: plain, compressed, or of records."""
        plain = SENTENCE.encode() * 9
        record = json.dumps({"text": SENTENCE, "n": 1}).encode() + b"\n"
        pack = zstandard.ZstdCompressor().compress
        kind = chance.choice(("txt", "txt.gz", "txt.zst", "jsonl", "jsonl.gz", "jsonl.zst"))
        data = record * 9 if "jsonl" in kind else plain
        if chance.random() < 0.5:
            data = mutate_bytes(chance, data)
        data = {"gz": gzip.compress, "zst": pack}.get(kind.split(".")[-1], bytes)(data)
        if chance.random() < 0.6:
            data = mutate_bytes(chance, data)
        path = self.folder / f"text.{kind}"
        path.write_bytes(data)
        cache, level = self.folder / "texts", chance.choice(LEVELS)
        sizes = {"batch": 1, "window": 4, "vocab_size": 300}
        config = Config(text=str(path), level=level, cache=str(cache), **sizes)
        try:
            dataset = make_dataset(read_corpus(config), config)
            for text in (dataset.train, dataset.valid):
                assert int(text.tokens.max()) < len(dataset.vocabulary)
        finally:
            shutil.rmtree(cache, ignore_errors=True)

    def read_tokens(self, chance: random.Random) -> None:
        """A prepared text: whatever was changed in it must have been noticed."""
        path = self.folder / "x.tokens"
        data = mutate_bytes(chance, self.header)
        path.write_bytes(data)
        header = read_header(path)
        if header is not None:
            assert header == read_header(self.tokens)
            for text in map_tokens(path, header).values():
                int(text.tokens.max())

    def read_log(self, chance: random.Random) -> None:
        """log.jsonl."""
        (self.run / "config.json").write_bytes(self.config)
        (self.run / "log.jsonl").write_bytes(mutate_bytes(chance, self.log))
        cut_log(self.opened, 30)
        assert all(record["step"] <= 30 for record in read_log(self.opened))

    @property
    def readers(self) -> dict[str, Callable[[random.Random], None]]:
        """By name."""
        return {
            name.removeprefix("read_"): getattr(self, name)
            for name in dir(self)
            if name.startswith("read_")
        }


def _plain(progress: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in progress.items() if key != "sha256"}


def fuzz(
    count: int, seconds: float, seed: int, only: str | None = None
) -> tuple[Counter[str], list[str]]:
    """Inputs by reader and what became of them, and the findings."""
    outcomes, findings = Counter[str](), []
    deadline = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as name:
        fuzzer = Fuzzer(Path(name))
        readers = fuzzer.readers
        names = [only] if only else sorted(readers)
        for number in range(count):
            if time.monotonic() > deadline:
                break
            reader = names[number % len(names)]
            try:
                readers[reader](random.Random(f"{seed} {number}"))
                outcomes[f"{reader} taken"] += 1
            except RecursionError:
                findings.append(f"{reader}, seed {seed}, number {number}: recursion")
            except (ValueError, RuntimeError) as error:
                outcomes[f"{reader} refused"] += 1
                if not str(error):
                    findings.append(f"{reader}, seed {seed}, number {number}: says nothing")
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                where = traceback.format_exc(limit=-3)
                findings.append(f"{reader}, seed {seed}, number {number}: {where}")
    return outcomes, findings


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10**9)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader")
    given = parser.parse_args()
    torch.set_num_threads(1)
    outcomes, findings = fuzz(given.count, given.seconds, given.seed, given.reader)
    print(json.dumps({"inputs": outcomes.total(), "outcomes": dict(sorted(outcomes.items()))}))
    print("\n".join(findings[:20]), f"{len(findings)} findings", sep="\n")
    sys.exit(bool(findings))
