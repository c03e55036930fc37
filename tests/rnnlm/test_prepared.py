"""The prepared file: made once, named by what it was made of, and never half of one."""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import SENTENCE, SMALL
from safetensors.torch import load_file

from fastlstm.rnnlm import prepare
from fastlstm.rnnlm.cache import write_once
from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.corpus import read_corpus
from fastlstm.rnnlm.dataset import make_dataset
from fastlstm.rnnlm.tokenfile import HEADER, read_header, token_dtype
from fastlstm.rnnlm.vocabularies import build_vocabulary

PROGRAM = [sys.executable, "-c", "import sys; from fastlstm.cli import main; sys.exit(main())"]


@pytest.fixture
def config(text, tmp_path):
    shape = {"batch": 4, "window": 10}
    return Config(text=str(text), level="word", cache=str(tmp_path / "cache"), **shape)


def prepared(tmp_path):
    (path,) = (tmp_path / "cache" / "tokens").iterdir()
    return path


def test_header_says_what_the_file_is(config, tmp_path):
    corpus = read_corpus(config)
    dataset = make_dataset(corpus, config)
    path = prepared(tmp_path)
    header = json.loads(path.read_bytes()[:HEADER])
    assert header == read_header(path)
    assert header["source"]["sha256"] == corpus.sha256
    assert header["source"]["origin"] == config.text
    assert header["bytes"] == path.stat().st_size
    for part, text in (("train", dataset.train), ("valid", dataset.valid)):
        entry = header["parts"][part]
        tokens = np.fromfile(path, header["dtype"], entry["tokens"], offset=entry["offset"])
        assert torch.equal(torch.from_numpy(tokens), text.tokens)
        assert (entry["characters"], entry["unknown"]) == (text.characters, text.unknown)


def test_tokens_are_those_of_the_text(config):
    corpus = read_corpus(config)
    dataset = make_dataset(corpus, config)
    valid = b"".join(corpus.data[start:end] for start, end in dataset.split)
    gaps = zip([0, *(end for _, end in dataset.split)], dataset.split, strict=False)
    train = b"".join(corpus.data[start:end] for start, (end, _) in gaps)
    vocabulary = build_vocabulary("word", [train], 10_000)
    assert len(train) + len(valid) == len(corpus.data)
    assert vocabulary.to_json() == dataset.vocabulary.to_json()
    assert dataset.valid.tokens.tolist() == vocabulary.encode(valid).tolist()
    assert dataset.train.tokens.tolist() == vocabulary.encode(train).tolist()


def test_prepared_once(config, monkeypatch, tmp_path):
    first = make_dataset(read_corpus(config), config)
    stamp = prepared(tmp_path).stat().st_mtime_ns
    monkeypatch.setattr(prepare, "build_vocabulary", lambda *_: pytest.fail("built again"))
    monkeypatch.setattr(prepare, "write_tokens", lambda *_: pytest.fail("encoded again"))
    again = make_dataset(read_corpus(config), config)
    assert torch.equal(first.train.tokens, again.train.tokens)
    given = make_dataset(read_corpus(config), config, first.vocabulary)
    assert torch.equal(first.train.tokens, given.train.tokens)
    assert prepared(tmp_path).stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    "change",
    [{"vocab_size": 5}, {"min_count": 80}, {"level": "char"}, {"valid_fraction": 0.2}, "text"],
    ids=str,
)
def test_anything_else_is_another_file(config, tmp_path, text, change):
    make_dataset(read_corpus(config), config)
    if change == "text":
        text.write_text(SENTENCE * 61, encoding="utf-8")
        change = {}
    other = Config(**(config.to_json() | change))
    make_dataset(read_corpus(other), other)
    assert len(list((tmp_path / "cache" / "tokens").iterdir())) == 2


@pytest.mark.parametrize("size", [0, 100, HEADER, -1])
def test_file_that_is_cut_off_is_made_again(config, tmp_path, size):
    first = make_dataset(read_corpus(config), config).train.tokens.clone()
    path = prepared(tmp_path)
    path.write_bytes(path.read_bytes()[:size])
    assert torch.equal(make_dataset(read_corpus(config), config).train.tokens, first)


def test_what_a_crash_left_is_written_over(config, tmp_path):
    make_dataset(read_corpus(config), config)
    path = prepared(tmp_path)
    whole = path.read_bytes()
    path.rename(path.with_name(path.name + ".part"))
    (path.parent / f"{path.name}.part").write_bytes(whole + b"left by a crash")
    make_dataset(read_corpus(config), config)
    assert prepared(tmp_path).read_bytes() == whole


def test_failure_leaves_nothing(tmp_path):
    def fail(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_once(tmp_path / "x", fail)
    assert not list(tmp_path.iterdir())


def test_full_disk_is_said_in_one_line(tmp_path):
    def fail(file):
        raise OSError(28, "No space left on device")

    with pytest.raises(RuntimeError, match=r"cannot write .*x: No space left on device"):
        write_once(tmp_path / "x", fail)


def test_who_comes_second_waits_and_does_not_write(tmp_path):
    calls = []

    def write(file):
        calls.append(1)
        time.sleep(0.3)
        file.write(b"whole")

    threads = [threading.Thread(target=write_once, args=(tmp_path / "x", write)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == b"whole"


def test_who_comes_second_writes_where_the_first_failed(tmp_path):
    started = threading.Event()

    def fail(file):
        started.set()
        time.sleep(0.2)
        raise OSError(5, "broken")

    def write_and_fail():
        with pytest.raises(RuntimeError, match="broken"):
            write_once(path, fail)

    path = tmp_path / "x"
    first = threading.Thread(target=write_and_fail)
    first.start()
    started.wait()
    write_once(path, lambda file: file.write(b"whole"))
    first.join()
    assert [each.name for each in tmp_path.iterdir()] == ["x"]
    assert path.read_bytes() == b"whole"


def test_two_processes_at_once(text, tmp_path):
    environment = os.environ | {"FASTLSTM_CACHE": str(tmp_path / "cache")}
    options = ["train", str(text), *SMALL, "--level", "word", "--steps", "3", "--out"]
    both = [
        subprocess.Popen(
            [*PROGRAM, *options, str(tmp_path / name)], env=environment, stderr=subprocess.PIPE
        )
        for name in "ab"
    ]
    assert [process.communicate()[1] for process in both] == [b"", b""]
    assert [process.returncode for process in both] == [0, 0]
    assert not list((tmp_path / "cache").rglob("*.part"))
    first, second = (load_file(tmp_path / name / "best.safetensors") for name in "ab")
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(second[name], tensor), name


@pytest.mark.parametrize("level", ["byte", "word"])
def test_text_that_changes_while_it_is_read(config, text, tmp_path, level):
    config = replace(config, level=level)
    corpus = read_corpus(config)
    text.write_text(SENTENCE * 61, encoding="utf-8")
    with pytest.raises(ValueError, match="has changed while it was read"):
        make_dataset(corpus, config)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("size", "dtype"), [(256, "uint8"), (257, "int16"), (2**15, "int16"), (2**15 + 1, "int32")]
)
def test_narrowest_type(size, dtype):
    assert np.dtype(token_dtype(size)) == dtype


def test_wide_vocabulary_round_trip(tmp_path):
    words = [f"w{number}" for number in range(40_000)]
    (tmp_path / "wide.txt").write_text("\n".join([" ".join(words)] * 3))
    config = Config(
        text=str(tmp_path / "wide.txt"), level="word", vocab_size=50_000, batch=1, valid_pieces=1
    )
    dataset = make_dataset(read_corpus(config), config)
    assert dataset.train.tokens.dtype == torch.int32
    shown = "".join(dataset.vocabulary.decode(dataset.train.tokens[-5:].tolist()))
    assert shown.split()[-1] in words


def test_run_from_before_there_was_an_option(command, run):
    values = json.loads((run / "config.json").read_text())
    for name in ("min_count", "field", "cache", "symbols", "france_skin"):
        del values["config"][name]
    (run / "config.json").write_text(json.dumps(values))
    assert command("resume", run, "--steps", 22)[0] == 0
    assert command("eval", run)[0] == 0


def test_run_of_a_later_version(fails, run):
    values = json.loads((run / "config.json").read_text())
    values["config"]["colour"] = "red"
    (run / "config.json").write_text(json.dumps(values))
    assert "unknown options: colour" in fails("resume", run)
