"""Byte-pair encoding, Chinese words, and what a rare word is."""

import json
from pathlib import Path

import pytest
from conftest import SMALL

from fastlstm.rnnlm import levels
from fastlstm.rnnlm.chinese import chinese_words, is_segmented
from fastlstm.rnnlm.vocabularies import build_vocabulary, vocabulary_from_json

CUT = "中国 男足 踢得 真烂\n气得 我 想 大吃 一顿\n"
UNCUT = CUT.replace(" ", "")
ENGLISH = "the cat sat on the mat , the dog sat on the cat\n" * 9
PEOPLES_DAILY = Path(__file__).parents[3] / "shared/data/peoples_daily_1998/valid.txt"


@pytest.mark.parametrize(
    "text", [ENGLISH, "naïve 😀 x\n\nend", CUT + UNCUT], ids=["en", "odd", "zh"]
)
def test_bpe_round_trip(text):
    vocabulary = build_vocabulary("bpe", [ENGLISH.encode()], 300)
    tokens = vocabulary.encode(text.encode()).tolist()
    assert "".join(vocabulary.decode(tokens)) == text
    again = vocabulary_from_json(json.loads(json.dumps(vocabulary.to_json())))
    assert again.encode(text.encode()).tolist() == tokens
    assert (len(again), again.start) == (len(vocabulary), vocabulary.start)
    assert list(again.decode([again.start])) == ["\n", ""]


def test_bpe_merges_what_is_frequent():
    vocabulary = build_vocabulary("bpe", [ENGLISH.encode()], 300)
    assert 256 < len(vocabulary) <= 300
    assert len(vocabulary.encode(ENGLISH.encode())) < len(ENGLISH) / 3
    assert list(vocabulary.decode(vocabulary.encode(b"the cat"))) == ["the", " cat", ""]
    assert len(build_vocabulary("bpe", [ENGLISH.encode()], 300, min_count=10_000)) == 256


def test_bpe_needs_room_for_the_bytes(fails, text, tmp_path):
    options = ["--level", "bpe", "--vocab-size", 255, "--out", tmp_path / "run"]
    assert "--vocab-size must be at least 256" in fails("train", text, *options)


def test_bpe_tokenizer_that_is_none():
    with pytest.raises(ValueError, match="not a vocabulary"):
        vocabulary_from_json({"level": "bpe", "tokenizer": {"model": 3}})


@pytest.mark.parametrize("level", ["char", "word", "zh-word"])
def test_rarer_than_min_count_is_unknown(level):
    data = b"a a a b b c\n" if level != "char" else b"aaabbc\n"
    vocabulary = build_vocabulary(level, [data, data], 100, min_count=3)
    assert vocabulary.count_unknown(vocabulary.encode(data)) == (1 if level != "char" else 2)


def test_words_are_counted_in_bounded_memory(monkeypatch):
    """The rarest are forgotten when there are too many; the frequent ones stay."""
    monkeypatch.setattr(levels, "WORDS_MOST", 50)
    chunks = [f"often often again word{number}\n".encode() for number in range(1000)]
    vocabulary = build_vocabulary("word", chunks, 100)
    assert vocabulary.words[2:4] == ["often", "again"]
    assert len(vocabulary) <= 52


def test_chinese_that_is_cut_is_taken_as_it_is():
    assert is_segmented(CUT)
    assert chinese_words(CUT) == CUT.replace("\n", " <eos> ").split()
    vocabulary = build_vocabulary("zh-word", [CUT.encode()], 100)
    assert "".join(vocabulary.decode(vocabulary.encode(CUT.encode()))) == CUT


def test_chinese_that_is_not_cut_is_cut_by_jieba():
    assert not is_segmented(UNCUT)
    words = chinese_words(UNCUT)
    assert " ".join(words) == "中国男足 踢 得 真烂 <eos> 气得 我 想 大吃一顿 <eos>"
    vocabulary = build_vocabulary("zh-word", [UNCUT.encode()], 100)
    assert "".join(vocabulary.decode(vocabulary.encode(UNCUT.encode()))) == UNCUT
    again = vocabulary_from_json(json.loads(json.dumps(vocabulary.to_json())))
    assert "".join(again.decode(again.encode(UNCUT.encode()))) == UNCUT


def test_latin_words_within_chinese_stay_apart():
    vocabulary = build_vocabulary("zh-word", ["我 use deep learning 很好地\n".encode()], 100)
    words = vocabulary.encode("我use deep learning很好地\n".encode())
    assert "use deep learning" in "".join(vocabulary.decode(words))


def test_prime_of_chinese_is_cut_or_a_word():
    vocabulary = build_vocabulary("zh-word", [CUT.encode()], 100)
    numbers = [vocabulary.words.index(word) for word in ("中国", "男足")]
    assert vocabulary.encode("中国 男足".encode()).tolist() == numbers
    assert vocabulary.encode("男足".encode()).tolist() == numbers[1:]
    assert vocabulary.encode("法国".encode()).tolist() == [0]


def test_peoples_daily_is_taken_as_it_is():
    if not PEOPLES_DAILY.exists():
        pytest.skip(f"no {PEOPLES_DAILY}")
    data = PEOPLES_DAILY.read_bytes()
    chinese = build_vocabulary("zh-word", [data], 10_000)
    assert chinese.to_json()["words"] == build_vocabulary("word", [data], 10_000).to_json()["words"]


@pytest.mark.parametrize("level", ["bpe", "zh-word"])
def test_run_of_each_level(command, text, tmp_path, level):
    run = tmp_path / "run"
    options = [*SMALL, "--level", level, "--vocab-size", 270, "--steps", 4, "--out", run]
    code, out, err = command("train", text, *options)
    assert (code, err) == (0, "")
    assert "optimum" not in out
    assert command("resume", run, "--steps", 8)[0] == 0
    assert "bits/char" in command("eval", run)[1]
    assert "the quick" in command("sample", run, "--prime", "the quick", "--length", 5)[1]
