"""Loss by the length of the context: what is drawn is what `fastlstm eval --context` prints."""

import re

from conftest import SENTENCE, SMALL
from matplotlib.figure import Figure

from fastlstm.rnnlm.inspect import context

ROW = re.compile(r"^ *(\d+|all) +([\d.]+) +[\d.]+ *([\d.]*) *$", re.MULTILINE)


def drawn(monkeypatch, command, *arguments):
    """The lines of the picture by label, as {tokens before: nats}; the level of dashed ones."""
    figures = []

    def remember(**size):
        figures.append(Figure(**size))
        return figures[-1]

    monkeypatch.setattr(context, "Figure", remember)
    code, out, err = command("inspect", *arguments)
    assert (code, err) == (0, "")
    lines = figures[0].axes[0].lines
    curves = {line.get_label(): line for line in lines if line.get_linestyle() == "-"}
    flat = [line.get_ydata()[0] for line in lines if line.get_linestyle() == "--"]
    return (
        {
            name: dict(zip(line.get_xdata(), line.get_ydata(), strict=True))
            for name, line in curves.items()
        },
        flat,
        out,
    )


def test_it_is_the_curve_that_eval_prints(command, run, monkeypatch):
    curves, flat, _ = drawn(monkeypatch, command, run, "context")
    rows = ROW.findall(command("eval", run, "--context", 64, "--baselines")[1].split("before")[1])
    assert {str(k): f"{loss:.4f}" for k, loss in curves["run (lstm)"].items()} == {
        k: nats for k, nats, _ in rows if k != "all"
    }
    assert {str(k): f"{loss:.4f}" for k, loss in curves["n-gram"].items()} == {
        k: nats for k, _, nats in rows if nats
    }
    assert [f"{loss:.4f}" for loss in flat] == [nats for k, nats, _ in rows if k == "all"]


def test_two_runs_and_a_text_shorter_than_the_curve(command, run, text, tmp_path, monkeypatch):
    options = ["--level", "char", "--cell", "rnn", "--steps", 2, "--out", tmp_path / "other"]
    assert command("train", text, *SMALL, *options)[0] == 0
    curves, flat, _ = drawn(
        monkeypatch, command, run, "context", "--beside", tmp_path / "other", "--text", SENTENCE[:9]
    )
    assert list(curves) == ["run (lstm)", "other (rnn)", "n-gram"]
    assert list(curves["other (rnn)"]) == [1, 2, 3, 4, 8, 9]
    assert len(flat) == 2


def test_without_the_runs_text_there_are_no_n_grams(command, trained, run, monkeypatch):
    config = run / "config.json"
    config.write_text(config.read_text().replace("fox.txt", "gone.txt"))
    curves, _, out = drawn(monkeypatch, command, run, "context", "--text", SENTENCE)
    assert list(curves) == ["run (lstm)"]
    assert "context: no n-grams: " in out


def test_runs_of_other_tokens_are_not_comparable(fails, command, run, text, tmp_path):
    options = ["--level", "byte", "--steps", 1, "--out", tmp_path / "bytes"]
    assert command("train", text, *SMALL, *options)[0] == 0
    assert "bytes must have the vocabulary of" in fails(
        "inspect", run, "context", "--beside", tmp_path / "bytes"
    )
