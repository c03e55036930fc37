"""What is said where a score leaves something out: tokens that are `<unk>`."""

import pytest
from conftest import SMALL

NOTE = "bits/char is a lower bound: the spelling of "


@pytest.mark.parametrize("options", ["--level word --vocab-size 60", "--level char --vocab-size 9"])
def test_no_optimum_where_tokens_are_unknown(command, tmp_path, options):
    shortened = ["--france-docs", 300, *SMALL, "--steps", 2, "--out", tmp_path / "run"]
    code, out, _ = command("train", "france", *shortened, *options.split())
    assert code == 0
    assert "no optimum is known: " in out
    assert NOTE in out
    assert not any(word in out for word in ("memoryless", "off the optimum", "LANGUAGE costs"))


def test_unknown_tokens_are_noted_beside_the_scores(command, tmp_path):
    (tmp_path / "rare.txt").write_text("".join(f"a b word{n}\n" for n in range(400)))
    options = [*SMALL, "--level", "word", "--steps", 2, "--out", tmp_path / "run"]
    code, out, _ = command("train", tmp_path / "rare.txt", *options)
    assert code == 0
    assert out.count(NOTE) == 2  # of the baselines, and of the model
    assert "no optimum" not in out
    assert NOTE in command("eval", tmp_path / "run")[1]
