"""Texts that were made to do harm, or are only strange: read as they are, and shown as text."""

import os
from html.parser import HTMLParser

import pytest
from shell import run_command
from trainer_commands import train_on_markup

from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.corpus import read_corpus
from fastlstm.rnnlm.dataset import make_dataset
from fastlstm.rnnlm.vocabularies import vocabulary_from_json


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train_on_markup(tmp_path_factory.mktemp("trained"))


class Tags(HTMLParser):
    """Tags, attributes and scripts of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.handlers = set(), set(), set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.handlers |= {name for name, _ in attrs if name.startswith("on")}


def test_report_escapes_the_text(trained, capsys, tmp_path):
    text = "<script>alert(1)</script> <img src=x onerror=y> \"'><b> $\\frac{$ $x_ $\n"
    code, _, err = run_command(
        capsys, "inspect", trained, "curves", "gates", "units", "--text", text, "--out", tmp_path
    )
    assert code == 0, err
    (page,) = tmp_path.glob("*.html")
    found = Tags()
    found.feed(page.read_text())
    expected = "html meta title style h1 h2 h3 p img table tr th td details summary pre span"
    assert found.tags <= {*expected.split()}
    assert found.attributes <= {*["lang", "charset", "id", "class", "alt", "src", "style", "title"]}
    assert "&lt;b&gt;run&amp;" in page.read_text()
    assert found.handlers == set()


def test_pictures_take_no_word_for_a_formula(tmp_path, capsys):
    (tmp_path / "x.txt").write_text("a $\\frac{$ $x_$ b c d\n" * 300)
    sizes = ["--hidden", 8, "--batch", 2, "--window", 10, "--level", "word", "--steps", 10]
    sizes += ["--threads", 1, "--cache", tmp_path / "cache", "--out", tmp_path / "run"]
    assert run_command(capsys, "train", tmp_path / "x.txt", *sizes)[0] == 0
    text = ["--text", "a $\\frac{$ $x_$ b"]
    code, _, err = run_command(capsys, "inspect", tmp_path / "run", "gates", *text)
    assert code == 0, err


EVERY_CODE_POINT = "".join(
    chr(code) + "\n" * (code % 256 == 255)  # BPE takes the square of a word's length
    for code in [*range(0xD800), *range(0xE000, 0x110000)]
)
TEXTS = {
    "every code point": EVERY_CODE_POINT.encode() + b"\n",
    "control characters": bytes(range(32)) * 400 + b"\x7f\xc2\x80\xc2\x9f\n",
    "CRLF": b"one two\r\nthree\r\n" * 400,
    "CR": b"one two\rthree\r" * 400,
    "BOM": b"\xef\xbb\xbf" + b"one two three\n" * 400,
    "one line": b"one two three " * 500,
    "no blank": "長い".encode() * 2000,
}


@pytest.mark.parametrize("level", ["byte", "char", "word", "bpe"])
@pytest.mark.parametrize("name", TEXTS)
def test_strange_text_is_what_is_read_back(tmp_path, name, level):
    """Each text is taken as it is: at the byte, char and BPE levels it comes back byte for byte."""
    data = TEXTS[name]
    (tmp_path / "x.txt").write_bytes(data)
    sizes = {"batch": 1, "window": 1, "vocab_size": 2**21, "valid_fraction": 0.1}
    config = Config(text=str(tmp_path / "x.txt"), level=level, cache=str(tmp_path), **sizes)
    if level == "bpe":
        config = Config(**(config.to_json() | {"vocab_size": 300}))
    dataset = make_dataset(read_corpus(config), config)
    assert vocabulary_from_json(dataset.vocabulary.to_json()).to_json() == (
        dataset.vocabulary.to_json()
    )
    train = b"".join(data[start:end] for start, end in dataset.parts["train"][1])
    if level != "word":
        shown = "".join(dataset.vocabulary.decode(dataset.train.tokens.tolist()))
        assert shown == train.decode(errors="replace")
    assert dataset.train.byte_count + dataset.valid.byte_count == len(data)


@pytest.mark.parametrize("level", ["byte", "char", "word", "bpe"])
def test_one_line_of_100_megabytes(tmp_path, capsys, level):
    """Read and trained on as any other text."""
    if level != "char" and "FASTLSTM_LARGE" not in os.environ:
        pytest.skip("takes up to two minutes: FASTLSTM_LARGE=1 runs it")
    with (tmp_path / "line.txt").open("wb") as file:
        for n in range(20_000):
            file.write(b"%05d " % n + b"it was the best of times " * 200)
    options = ["--level", level, "--hidden", "8", "--steps", "2", "--eval-every", "2"]
    arguments = [tmp_path / "line.txt", *options, "--cache", tmp_path, "--out", tmp_path / "run"]
    code, _, err = run_command(capsys, "train", *arguments, "--threads", "1")
    assert code == 0, err
