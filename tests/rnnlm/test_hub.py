"""Data sets of the library `datasets`: of a folder here, as no test may need the hub."""

import json
import sys

import pytest
from conftest import SENTENCE, SMALL

from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.corpus import read_corpus


def test_without_the_library(fails, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "datasets", None)
    err = fails("train", "hf:wikitext", "--out", tmp_path / "run")
    assert "pip install datasets" in err


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A data set of three parts, in the field `review`."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    folder = tmp_path / "foxes"
    folder.mkdir()
    for split, count in (("train", 60), ("validation", 20), ("test", 10)):
        with (folder / f"{split}.jsonl").open("w") as file:
            for number in range(count):
                file.write(json.dumps({"review": SENTENCE, "stars": number}) + "\n")
    return folder


def test_parts_and_texts_of_a_data_set(folder):
    corpus = read_corpus(Config(text=f"hf:{folder}", field="review"))
    assert corpus.name == "foxes"
    assert corpus.data[:] == (SENTENCE * 60).encode()
    assert corpus.others["valid"][:] == (SENTENCE * 20).encode()
    assert corpus.others["test"][:] == (SENTENCE * 10).encode()
    assert corpus.sha256 == read_corpus(Config(text=f"hf:{folder}", field="review")).sha256


def test_run_on_a_data_set(command, folder, tmp_path):
    run = tmp_path / "run"
    options = [*SMALL, "--level", "word", "--field", "review", "--steps", 20, "--out", run]
    code, out, _ = command("train", f"hf:{folder}", *options, "--stop-after", 10)
    assert code == 0
    assert "(train, valid, test)" in out
    assert command("resume", run)[0] == 0
    words = 10 * (len(SENTENCE.split()) + 1)
    assert f"{words:,} tokens" in command("eval", run, "--part", "test")[1]


def test_field_that_is_not_there(command, folder, tmp_path):
    code, _, err = command("train", f"hf:{folder}", *SMALL, "--out", tmp_path / "run")
    assert code == 2
    assert "train, row 0 has no text in the field 'text' (--field); it has review, stars" in err


def test_data_set_that_is_not_there(command, folder, tmp_path):
    code, _, err = command("train", f"hf:{folder}-not", *SMALL, "--out", tmp_path / "run")
    assert code == 2
    assert "cannot load the data set" in err
    assert "Traceback" not in err
    assert err.count("\n") == 1
