"""Text files of every kind, and folders of them, are the plain text that is in them."""

import gzip
import json

import pytest
import zstandard
from conftest import SENTENCE, SMALL

from fastlstm.rnnlm.cache import cache_folder
from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.corpus import read_corpus
from fastlstm.rnnlm.files import folder_parts, open_text, read_text

TEXT = (SENTENCE * 60).encode()
RECORDS = [{"text": line, "stars": 3, "other": "x"} for line in SENTENCE.split(" ")]
JSONL = b"\n\n".join(json.dumps(record).encode() for record in RECORDS)
LINES = b"".join(line.encode() + b"\n" * (not line.endswith("\n")) for line in SENTENCE.split(" "))
ZSTD = zstandard.ZstdCompressor(write_checksum=True)
KINDS = {
    "x.txt": (TEXT, TEXT),
    "x": (TEXT, TEXT),
    "x.txt.gz": (gzip.compress(TEXT[:999]) + gzip.compress(TEXT[999:]), TEXT),
    "x.ZST": (ZSTD.compress(TEXT[:999]) + ZSTD.compress(TEXT[999:]), TEXT),
    "x.jsonl": (JSONL, LINES),
    "x.ndjson.gz": (gzip.compress(JSONL), LINES),
    "x.jsonl.zst": (ZSTD.compress(JSONL), LINES),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_file(tmp_path, cache, name):
    content, text = KINDS[name]
    (tmp_path / name).write_bytes(content)
    opened = open_text(tmp_path / name, "text", cache)
    assert opened[:] == text
    assert read_text(tmp_path / name) == text
    plain = tmp_path / "plain.txt"
    plain.write_bytes(text)
    assert opened.sha256 == open_text(plain, "text", cache).sha256


def test_another_field_is_another_text(tmp_path, cache):
    path = tmp_path / "x.jsonl"
    path.write_bytes(JSONL)
    assert open_text(path, "other", cache)[:] == b"x\n" * len(RECORDS)
    assert open_text(path, "text", cache)[:] == LINES


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"title": "x", "stars": 3}', "line 3 has no text in the field 'text'.*title, stars"),
        (b'{"text": 3}', "line 3 has no text in the field 'text'"),
        (b"[1]", "line 3 has no text.*no fields"),
        (b"{", "line 3 is no JSON"),
        (b"\xff", "line 3 is no JSON"),
    ],
    ids=str,
)
def test_line_without_a_text(tmp_path, cache, line, message):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"text": "a"}\n\n' + line + b"\n")
    for read in (lambda: open_text(path, "text", cache), lambda: read_text(path)):
        with pytest.raises(ValueError, match=message):
            read()


@pytest.mark.parametrize("name", ["x.txt.gz", "x.ZST"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "other"])
def test_damaged_archive(fails, cache, tmp_path, name, damage):
    content = KINDS[name][0]
    damaged = {"cut": content[:-9], "flipped": content[:40] + b"xx" + content[42:], "other": TEXT}
    (tmp_path / name).write_bytes(damaged[damage])
    before = sorted(cache.rglob("*"))
    err = fails("train", tmp_path / name, *SMALL, "--out", tmp_path / "run")
    assert name in err
    assert "damaged" in err or "Not a gzipped" in err
    assert not list(cache.rglob("*.part"))
    assert sorted(cache.rglob("*.txt")) == [path for path in before if path.suffix == ".txt"]


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (("train.txt", "valid.txt", "test.txt", "README"), "train valid test"),
        (("wiki.train.tokens", "wiki.valid.tokens"), "train valid"),
        (("ptb-train.txt.gz", "ptb-dev.txt", "latest.txt"), "train valid"),
        (("my_training.jsonl", "VAL.jsonl"), "train valid"),
        (("train.txt",), "train"),
    ],
    ids=str,
)
def test_parts_of_a_folder(tmp_path, names, parts):
    for name in names:
        (tmp_path / name).touch()
    assert set(folder_parts(tmp_path)) == set(parts.split())


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("valid.txt",), "is a directory without a train file"),
        (("train.txt", "train.txt.gz"), "has two train files: train.txt, train.txt.gz"),
        (("train.txt", "dev.txt", "valid.txt"), "has two valid files: dev.txt, valid.txt"),
    ],
    ids=str,
)
def test_folder_that_is_unclear(fails, tmp_path, names, message):
    for name in names:
        (tmp_path / name).touch()
    assert message in fails("train", tmp_path, "--out", tmp_path / "run")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "foxes"
    folder.mkdir()
    for part, count in (("train", 60), ("valid", 20), ("test", 10)):
        (folder / f"{part}.txt").write_text(SENTENCE * count, encoding="utf-8")
    return folder


def test_folder_with_all_parts(command, folder, tmp_path):
    run = tmp_path / "run"
    options = [*SMALL, "--level", "word", "--steps", 12, "--out", run]
    code, out, err = command("train", folder, *options)
    assert (code, err) == (0, "")
    words = len(SENTENCE.split()) + 1
    assert f"as the text comes, in parts; {60 * words} words train, {20 * words} valid" in out
    shown = {part: command("eval", run, "--part", part)[1] for part in ("train", "valid", "test")}
    for part, count in (("train", 60), ("valid", 20), ("test", 10)):
        assert f"{count * words:,} tokens" in shown[part]
    assert command("eval", run)[1] == shown["valid"]
    by_name = command("eval", run, folder / "test.txt")[1]
    assert by_name.splitlines()[1] == shown["test"].splitlines()[1]


def test_folder_without_a_validation_file_holds_some_back(command, folder, tmp_path):
    (folder / "valid.txt").unlink()
    run = tmp_path / "run"
    code, out, _ = command("train", folder, *SMALL, "--steps", 4, "--out", run)
    assert code == 0
    assert "equal stretches of the text is for validation" in out
    assert "test part" in command("eval", run, "--part", "test")[1]


def test_every_part_is_in_the_fingerprint(folder, tmp_path):
    config = Config(text=str(folder))
    digests = {read_corpus(config).sha256}
    for part in ("train", "valid", "test"):
        path = folder / f"{part}.txt"
        path.write_text(path.read_text().replace("fox", "cat"))
        digests.add(read_corpus(config).sha256)
    assert len(digests) == 4


def test_part_that_is_not_there(fails, run, folder, text):
    assert "has no test part" in fails("eval", run, "--part", "test")
    assert "--part is of the run's own text" in fails("eval", run, text, "--part", "test")
    assert "--part" in fails("eval", run, "--part", "tests")


def test_no_utf8_in_a_part(fails, folder, tmp_path):
    (folder / "test.txt").write_bytes(b"abc \xe9t\xe9 " * 1000)
    err = fails("train", folder, "--level", "char", "--out", tmp_path / "run")
    assert "test is not UTF-8 at byte 4 (0xe9)" in err


def test_cache_folder_that_cannot_be_used(fails, text, tmp_path):
    err = fails("train", text, "--cache", text / "cache", "--out", tmp_path / "run")
    assert "cannot use the cache folder" in err
    assert "--cache names another" in err


def test_without_a_home_the_cache_is_temporary(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.delenv("FASTLSTM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cache_folder(None).name.startswith("fastlstm-")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder(None) == tmp_path / "xdg" / "fastlstm"
