"""Files that were made to do harm: run folders, vocabularies, texts. None of them is ever code."""

import ast
import gzip
import json
import os
import pickle
import re
from pathlib import Path

import pytest
import torch
from fuzz_readers import fuzz
from safetensors.torch import save_file
from shell import run_command
from trainer_commands import SENTENCE, one_line, tensors_of, train_on_markup

import fastlstm.rnnlm
from fastlstm.rnnlm.files import open_text
from fastlstm.rnnlm.runs import open_run
from fastlstm.rnnlm.saved import digest_of, read_checkpoint
from fastlstm.rnnlm.vocabularies import build_vocabulary, vocabulary_from_json

COUNT = int(os.environ.get("FASTLSTM_FUZZ", "600"))
SOURCES = sorted(Path(fastlstm.rnnlm.__file__).parent.rglob("*.py"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train_on_markup(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def run(trained, tmp_path):
    """A copy of it, to be spoilt."""
    (tmp_path / "run").mkdir()
    for path in trained.iterdir():
        (tmp_path / "run" / path.name).write_bytes(path.read_bytes())
    return tmp_path / "run"


def test_nothing_escapes_the_fuzzer():
    outcomes, findings = fuzz(COUNT, 600, 20261127)
    assert outcomes.total() + len(findings) == COUNT
    assert findings == []
    for reader in ("checkpoint", "config", "log", "text", "tokens", "vocabulary"):
        assert outcomes[f"{reader} taken"], reader  # else it is not the readers that refuse


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_reader_runs_what_it_reads(path):
    """No pickle, marshal or shelve, no torch.load, no eval or exec of text, no unpacking of tar."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [str(node.module)]
        modules = {"pickle", "marshal", "shelve", "dill", "joblib", "tarfile", "zipfile", "yaml"}
        assert not modules & {name.split(".")[0] for name in names}
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            forbidden = ("eval", "exec", "compile", "torch.load", "np.load", "os.system")
            assert called not in forbidden, called


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("command", ["resume", "sample", "eval"])
def test_pickle_in_the_place_of_a_checkpoint(run, tmp_path, capsys, command):
    fired = tmp_path / "fired"
    for name in ("best", "last"):
        (run / f"{name}.safetensors").write_bytes(pickle.dumps(Bomb(fired)))
    code, _, err = run_command(capsys, command, run)
    assert code == 2
    assert "safetensors is damaged" in one_line(err)
    assert not fired.exists()


def put_right(run, name, tensors, progress):
    """A checkpoint with the sha256 of what it holds."""
    progress = {key: value for key, value in progress.items() if key != "sha256"}
    progress["sha256"] = digest_of(tensors, progress)
    save_file(tensors, run / f"{name}.safetensors", progress)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("step", "-1"),
        ("step", "many"),
        ("step", None),
        ("best_loss", "nan"),
        ("more", "[]"),
        ("more", "[" * 5000),
        ("more", '{"position": "x"}'),
        ("more", '{"position": -5}'),
        ("more", '{"valid_losses": [null]}'),
        ("more", '{"lr_scale": NaN}'),
        ("more", '{"lr_scale": 1' + "0" * 400 + "}"),  # no float holds it
        ("more", '{"__class__": "os.system"}'),
        ("more", '{"mean": 1.5}'),
    ],
    ids=lambda value: str(value)[:30],
)
def test_made_up_progress(run, capsys, field, value):
    tensors, progress = tensors_of(run / "last.safetensors")
    progress[field] = value
    if value is None:
        del progress[field]
    put_right(run, "last", tensors, progress)
    code, _, err = run_command(capsys, "resume", run, "--steps", 90)
    assert code == 2
    assert "its progress is of another form" in one_line(err)


def test_checkpoint_that_is_cut_off_once_it_is_read(run):
    """Nothing of what was read still lies in the file; a process would die of that."""
    pid = os.fork()
    if pid == 0:
        tensors, _ = read_checkpoint(open_run(run), "last")
        (run / "last.safetensors").write_bytes(b"")
        os._exit(0 if all(tensor.sum() == tensor.sum() for tensor in tensors.values()) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize("name", ["model.decoder.bias", "state.0", "rng.cpu"])
def test_made_up_types(run, capsys, name):
    tensors, progress = tensors_of(run / "last.safetensors")
    put_right(run, "last", tensors | {name: tensors[name].to(torch.float64)}, progress)
    code, _, err = run_command(capsys, "resume", run, "--steps", 90)
    assert code == 2
    assert re.search(rf"{name} must be torch\.\w+, got torch.float64", one_line(err))


@pytest.mark.parametrize(
    ("option", "value"),
    [("lr", 10**400), ("hidden", 10**400), ("lr", True), ("text", 3), ("clip", []), ("seed", 1.0)],
    ids=lambda value: str(value)[:10],
)
def test_made_up_config(run, option, value):
    values = json.loads((run / "config.json").read_text())
    values["config"][option] = value
    (run / "config.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"config\.json is damaged"):
        open_run(run)


@pytest.mark.parametrize("name", ["config.json", "vocabulary.json"])
def test_json_nested_without_end(run, name):
    (run / name).write_text("[" * 100_000)
    with pytest.raises(ValueError, match="is damaged"):
        open_run(run)


BPE = build_vocabulary("bpe", [SENTENCE.encode()], 300).to_json()


def bpe(**changes):
    values = json.loads(json.dumps(BPE))
    values["tokenizer"]["model"] |= changes
    return values


@pytest.mark.parametrize(
    "values",
    [
        {"level": "char", "characters": "aba"},
        {"level": "char", "characters": "\ud800"},
        {"level": "char", "characters": ["a", "b"]},
        {"level": "word", "words": "abc"},
        {"level": "word", "words": ["a", 1]},
        {"level": "word", "words": ["a", "<eos>"]},
        {"level": "zh-word", "words": ["a"], "segmented": "no"},
        {"level": ["word"], "words": ["a"]},
        bpe(vocab=BPE["tokenizer"]["model"]["vocab"] | {"a": 10**6}),
        bpe(merges=[["nothing", "such"]]),
        bpe(merges=[3]),
        bpe(vocab={}),
    ],
    ids=lambda values: str(values)[:50],
)
def test_made_up_vocabulary(values):
    with pytest.raises(ValueError, match=r"not a vocabulary|surrogates"):
        vocabulary_from_json(values)


def test_patterns_of_a_made_up_tokenizer_are_not_taken():
    """A regular expression may take forever; only pieces and merges are read."""
    values = json.loads(json.dumps(BPE))
    evil = {
        "type": "Split",
        "pattern": {"Regex": "(a+)+$"},
        "behavior": "Isolated",
        "invert": False,
    }
    values["tokenizer"] |= {"pre_tokenizer": evil, "normalizer": {"type": "Lowercase"}}
    assert vocabulary_from_json(values).to_json() == BPE


@pytest.mark.parametrize("name", ["../../escaped.txt", "/tmp/escaped-fastlstm.txt"])
def test_path_within_an_archive_is_not_followed(tmp_path, name):
    """A .gz may name a file; what is unpacked goes into the cache under its own name."""
    path, cache = tmp_path / "x.txt.gz", tmp_path / "a" / "b" / "cache"
    packed = gzip.compress(SENTENCE.encode())
    named = packed[:3] + b"\x08" + packed[4:10] + name.encode() + b"\0" + packed[10:]
    path.write_bytes(named)
    assert gzip.decompress(named) == SENTENCE.encode()
    cache.mkdir(parents=True)
    assert open_text(path, "text", cache)[:] == SENTENCE.encode()
    found = {p.relative_to(tmp_path).parts[0] for p in tmp_path.rglob("*")}
    assert found == {"x.txt.gz", "a"}
    assert all(re.fullmatch(r"[0-9a-f]{32}\.(txt|sha256)", p.name) for p in cache.iterdir())
    assert not Path("/tmp/escaped-fastlstm.txt").exists()


def test_links_in_a_run_folder_are_not_written_through(run, tmp_path, capsys):
    """Who sends a run folder gets no file outside of it changed."""
    precious = tmp_path / "precious"
    precious.write_text("mine")
    names = ["log.jsonl", "speed.jsonl", "last.safetensors", "best.safetensors", "config.json"]
    for name in names:
        copy = tmp_path / f"copy of {name}"
        (run / name).rename(copy)
        (run / name).symlink_to(copy)
    before = {name: (tmp_path / f"copy of {name}").read_bytes() for name in names}
    (run / "inspect").mkdir()
    for name in ("inspect/curves.html", "inspect/curves.png", f".log.jsonl.{os.getpid()}"):
        (run / name).symlink_to(precious)
    assert run_command(capsys, "resume", run, "--steps", 80)[0] == 0
    assert run_command(capsys, "inspect", run, "curves")[0] == 0
    assert precious.read_text() == "mine"
    assert {name: (tmp_path / f"copy of {name}").read_bytes() for name in names} == before
