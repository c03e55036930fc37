"""Vocabularies: what is encoded comes back."""

import json

import pytest

from fastlstm.rnnlm.vocabularies import build_vocabulary, vocabulary_from_json

TEXTS = {
    "english": "to be , or not to be\nthat is the question\n",
    "chinese": "中国 男足 踢得 真烂\n气得 我 想 大吃一顿\n",
    "mixed": "naïve 😀 x\n\nend\n",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("level", ["byte", "char", "word"])
def test_round_trip(level, text):
    vocabulary = build_vocabulary(level, [text.encode()], 1000)
    tokens = vocabulary.encode(text.encode())
    assert "".join(vocabulary.decode(tokens.tolist())) == text
    assert vocabulary.count_unknown(tokens) == 0
    assert tokens.max() < len(vocabulary)


@pytest.mark.parametrize("level", ["byte", "char", "word"])
def test_round_trip_through_json(level):
    data = TEXTS["chinese"].encode()
    vocabulary = build_vocabulary(level, [data], 1000)
    again = vocabulary_from_json(json.loads(json.dumps(vocabulary.to_json())))
    assert again.encode(data).tolist() == vocabulary.encode(data).tolist()
    assert len(again) == len(vocabulary)
    assert again.start == vocabulary.start


def test_byte_level_counts_and_encodes_bytes():
    vocabulary = build_vocabulary("byte", [], 1000)
    assert vocabulary.encode("我\n".encode()).tolist() == [0xE6, 0x88, 0x91, 0x0A]
    assert vocabulary.count_characters("我\n".encode()) == 4


@pytest.mark.parametrize("level", ["char", "word"])
def test_characters_are_code_points(level):
    data = "我 在\n".encode()
    assert build_vocabulary(level, [data], 1000).count_characters(data) == 4


def test_bytes_are_shown_as_soon_as_a_character_is_whole():
    pieces = list(build_vocabulary("byte", [], 3).decode([0xE6, 0x88, 0x91, 0x41, 0xFF, 0xE6]))
    assert pieces == [
        "",
        "",
        "我",
        "A",
        "\N{REPLACEMENT CHARACTER}",
        "",
        "\N{REPLACEMENT CHARACTER}",
    ]


def test_words_end_lines_with_eos():
    vocabulary = build_vocabulary("word", [b"a b\na\n"], 1000)
    assert [vocabulary.words[token] for token in vocabulary.encode(b"b  a\n\nb")] == [
        "b", "a", "<eos>", "<eos>", "b",
    ]  # fmt: skip


@pytest.mark.parametrize(("level", "kept"), [("char", "ab"), ("word", "ab")])
def test_limit_keeps_the_most_frequent(level, kept):
    data = b"b a b a b a b c a a"
    data = data.replace(b" ", b"") if level == "char" else data
    limit = {"char": 3, "word": 4}[level]
    vocabulary = build_vocabulary(level, [data], limit)
    assert len(vocabulary) == limit
    assert vocabulary.count_unknown(vocabulary.encode(data)) == 1
    assert vocabulary.encode(kept[:1].encode()).tolist() != [0]


@pytest.mark.parametrize(("level", "text"), [("char", "aé"), ("word", "a é")])
def test_unknown_is_a_token(level, text):
    vocabulary = build_vocabulary(level, [b"a b\n"], 1000)
    tokens = vocabulary.encode(text.encode())
    assert tokens[-1] == 0
    assert vocabulary.count_unknown(tokens) == 1


def test_char_vocabulary_without_newline_starts_with_unknown():
    assert build_vocabulary("char", [b"abc"], 1000).start == 0


@pytest.mark.parametrize("values", [[], {}, {"level": "syllable"}, {"level": "char"}], ids=str)
def test_wrong_json_is_refused(values):
    with pytest.raises(ValueError, match="not a vocabulary"):
        vocabulary_from_json(values)
