"""Chunks: the same tokens as of the whole text, wherever they are cut."""

from pathlib import Path

import numpy as np
import pytest

from fastlstm.rnnlm import chunks
from fastlstm.rnnlm.chunks import FileBytes, check_utf8, read_chunks
from fastlstm.rnnlm.vocabularies import build_vocabulary

TEXT = "the fox\njumps  over 我在法国 长大。\n\n  naïve 😀 words\n" * 20
LEVELS = ["byte", "char", "word", "bpe", "zh-word"]


@pytest.mark.parametrize("most", [16, 10_000])
@pytest.mark.parametrize("size", [1, 7, 50, 10_000])
def test_chunks_are_the_text(monkeypatch, size, most):
    monkeypatch.setattr(chunks, "CHUNK", size)
    monkeypatch.setattr(chunks, "CHUNK_MOST", most)
    data = TEXT.encode()
    cut = list(read_chunks(data, [(0, 100), (100, 333), (333, len(data))]))
    assert b"".join(cut) == data
    for chunk in cut:
        chunk.decode()


def test_a_text_without_blanks_is_cut_at_a_character(monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK", 10)
    monkeypatch.setattr(chunks, "CHUNK_MOST", 10)
    data = ("我" * 30 + "é" * 30 + "😀" * 30 + "a" * 30).encode()
    cut = list(read_chunks(data, [(0, len(data))]))
    assert "".join(chunk.decode() for chunk in cut) == data.decode()
    assert max(map(len, cut)) < 25


@pytest.mark.parametrize("level", LEVELS)
def test_tokens_do_not_depend_on_chunks(monkeypatch, level):
    data = TEXT.encode()
    built = []
    for size in (10_000, 40):
        monkeypatch.setattr(chunks, "CHUNK", size)
        cut = list(read_chunks(data, [(0, len(data))]))
        vocabulary = build_vocabulary(level, cut, 300)
        tokens = np.concatenate([vocabulary.encode(chunk) for chunk in cut])
        characters = sum(map(vocabulary.count_characters, cut))
        built.append((vocabulary.to_json(), tokens.tolist(), characters))
    assert built[0] == built[1]


def test_ranges_of_a_file_are_read_as_of_bytes(tmp_path: Path):
    data = TEXT.encode()
    (tmp_path / "x").write_bytes(data)
    file = FileBytes(tmp_path / "x")
    assert len(file) == len(data)
    assert file[5:17] == data[5:17]
    assert file[len(data) - 3 : len(data) + 9] == data[-3:]
    assert file[:] == data
    assert file[9:3] == b""


@pytest.mark.parametrize("size", [1, 2, 5, 100])
@pytest.mark.parametrize(
    ("data", "at"), [(b"ab\xe9t\xe9", 2), ("我在".encode()[:-1], 3), (b"\x80", 0)], ids=str
)
def test_offset_of_what_is_no_utf8(data, at, size):
    blocks = [data[begin : begin + size] for begin in range(0, len(data), size)]
    with pytest.raises(ValueError, match=rf"x is not UTF-8 at byte {at} \(0x{data[at]:02x}\)"):
        check_utf8(blocks, "x")
    check_utf8([data[:at]], "x")
