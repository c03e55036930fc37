"""Learning curves: the numbers drawn are the log's, the baselines those that training printed."""

import json
import math
import re

import pytest

from fastlstm.rnnlm.baselines import bigram_loss, unigram_loss
from fastlstm.rnnlm.commands import dataset_of
from fastlstm.rnnlm.inspect import curves
from fastlstm.rnnlm.inspect.page import Section
from fastlstm.rnnlm.inspect.subject import Subject
from fastlstm.rnnlm.model import make_model
from fastlstm.rnnlm.runs import append_log, open_run


@pytest.fixture
def subject(run):
    opened = open_run(run)
    dataset = dataset_of(opened)
    return Subject(opened, make_model(len(opened.vocabulary), opened.config, "cpu"), 20, dataset)


def test_series_are_the_logs(subject):
    log = [json.loads(line) for line in (subject.run.path / "log.jsonl").read_text().splitlines()]
    for kind, key in (("train", "loss"), ("train", "lr"), ("valid", "loss")):
        rows = [row for row in log if row["kind"] == kind]
        assert curves.series(subject.run, kind, key) == (
            [row["step"] for row in rows],
            [row[key] for row in rows],
        )
    assert len(curves.series(subject.run, "valid", "loss")[0]) >= 2


def test_what_the_log_lacks_is_left_out(subject):
    append_log(subject.run, {"kind": "valid", "step": 30})
    append_log(subject.run, {"kind": "valid", "step": 40, "loss": math.nan})
    assert max(curves.series(subject.run, "valid", "loss")[0]) == 20
    (subject.run.path / "log.jsonl").unlink()
    section = curves.view(subject)
    assert "best of" not in "".join(section.parts)


def test_baselines_are_those_of_the_validation_part(subject):
    train, valid = (part.tokens.numpy() for part in (subject.dataset.train, subject.dataset.valid))
    size, start = len(subject.run.vocabulary), subject.run.vocabulary.start
    assert curves.baselines(subject, Section("", "")) == pytest.approx(
        {
            "unigram": unigram_loss([train], valid, size),
            "bigram": bigram_loss([train], valid, size, start),
        }
    )


def test_view_draws_them_and_names_the_best(subject):
    append_log(subject.run, {"kind": "valid", "step": 30, "loss": 1.25})
    append_log(subject.run, {"kind": "valid", "step": 40, "loss": 1.5})
    section = curves.view(subject)
    losses = section.figures["curves"].axes[0]
    steps, values = curves.series(subject.run, "valid", "loss")
    drawn = next(line for line in losses.lines if line.get_label() == "validation")
    assert (list(drawn.get_xdata()), list(drawn.get_ydata())) == (steps, values)
    star = next(line for line in losses.lines if line.get_marker() == "*")
    assert (list(star.get_xdata()), list(star.get_ydata())) == ([30], [1.25])
    assert re.search(
        r'30</td><td class="number">1.25</td><td class="number">3.49<', section.parts[-1]
    )
    low, high = losses.get_ylim()
    assert low < 1.25
    assert high > max(values)
