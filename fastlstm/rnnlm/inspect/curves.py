"""Learning curves: loss beside the baselines, gradient norm and clipping, learning rate."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from fastlstm.rnnlm.inspect.page import Section
from fastlstm.rnnlm.inspect.style import COLOURS, GREY
from fastlstm.rnnlm.inspect.subject import Subject
from fastlstm.rnnlm.result import floor_scores
from fastlstm.rnnlm.runs import Run, read_log

Series = tuple[list[int], list[float]]


def view(subject: Subject) -> Section:
    """Learning curves from the run's log, and the baselines of its validation part."""
    section = Section("curves", "Learning curves")
    figure = Figure(figsize=(9, 8), layout="constrained")
    losses, norms, rates = figure.subplots(3, 1, sharex=True, height_ratios=(3, 1.3, 1))
    section.say(
        "Loss in nats per token; the axis to the right is the perplexity. Dashed lines are what "
        "models without memory and, for generated text, the best possible model pay."
    )
    floors = baselines(subject, section)
    for index, run in enumerate((subject, *subject.beside)):
        _draw_losses(losses, run, COLOURS[index % len(COLOURS)], bool(subject.beside))
    _draw_floors(losses, floors, *_limits((subject, *subject.beside), floors))
    _draw_training(norms, rates, subject)
    figure.align_ylabels()
    section.draw("curves", figure)
    rows = _rows(subject, floors)
    section.table(("", "step", "nats/token", "perplexity"), rows)
    return section


def series(run: Run, kind: str, key: str) -> Series:
    """Steps and values of one quantity in the log; kind: train or valid."""
    records = [r for r in read_log(run) if r.get("kind") == kind and _is_number(r.get(key))]
    return [record["step"] for record in records], [record[key] for record in records]


def baselines(subject: Subject, section: Section) -> dict[str, float]:
    """Nats per token of the validation part by name; none where the run's text is gone."""
    if subject.dataset is None:
        section.note(f"no baselines: {subject.no_dataset}")
        return {}
    return {name: score.nats for name, score in floor_scores(subject.dataset).items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _draw_losses(axes: Axes, subject: Subject, colour: str, named: bool) -> None:
    name = f"{subject.name}: " if named else ""
    steps, values = series(subject.run, "train", "loss")
    axes.plot(steps, values, color=colour, linewidth=0.8, alpha=0.5, label=f"{name}training")
    steps, values = series(subject.run, "valid", "loss")
    axes.plot(steps, values, "o-", color=colour, markersize=4, label=f"{name}validation")
    if values:
        best = min(range(len(values)), key=values.__getitem__)
        axes.plot(steps[best], values[best], "*", color=colour, markersize=13)


def _draw_floors(axes: Axes, floors: dict[str, float], low: float, high: float) -> None:
    """Lines of the baselines on an axis from `low` to `high`; those above it are named there."""
    axes.set_ylim(low, high)
    for name, value in floors.items():
        arrow, at = ("\u2191 ", high) if value > high else ("", value)
        axes.axhline(value, color=GREY, linestyle="--", linewidth=0.9, zorder=1)
        axes.annotate(
            f"{arrow}{name} {value:.3f}", (1, at), xycoords=("axes fraction", "data"), ha="right",
            xytext=(-3, -9 if arrow else 3), textcoords="offset points", fontsize=8, color="0.2",
            bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.5},
        )  # fmt: skip
    axes.set_ylabel("nats per token")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    # equal steps of loss are equal ratios of perplexity
    right = axes.secondary_yaxis("right", functions=(np.exp, _log))
    right.set_ylabel("perplexity")


def _limits(runs: tuple[Subject, ...], floors: dict[str, float]) -> tuple[float, float]:
    """The axis of losses: all validations and baselines but the worst one, and some air.

    The first training losses, far above all that follow, leave it at the top.
    """
    valid = [value for run in runs for value in series(run.run, "valid", "loss")[1]]
    train = [value for run in runs for value in series(run.run, "train", "loss")[1]]
    marks = valid + sorted(floors.values())[:-1] or train or [1.0]
    low, high = min(marks + train), max(marks)
    air = 0.08 * (high - low) + 1e-3
    return low - air, high + air


def _log(perplexity: Any) -> Any:
    return np.log(np.maximum(perplexity, 1e-300))


def _draw_training(norms: Axes, rates: Axes, subject: Subject) -> None:
    steps, values = series(subject.run, "train", "grad_norm")
    if values:
        norms.plot(steps, values, color=COLOURS[0], linewidth=0.9, label="norm before clipping")
    clip = subject.config.clip
    norms.axhline(clip, color=COLOURS[1], linestyle="--", linewidth=0.9, label=f"--clip {clip:g}")
    norms.set_yscale("log")
    norms.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    norms.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    norms.yaxis.set_minor_formatter(NullFormatter())
    norms.set_ylabel("gradient norm")
    steps, clipped = series(subject.run, "train", "clipped")
    if steps:
        share = norms.twinx()
        share.fill_between(steps, clipped, color=COLOURS[1], alpha=0.15, linewidth=0)
        share.set_ylim(0, 1)
        share.set_ylabel("part clipped", color=COLOURS[1])
    norms.legend(loc="center right")
    rates.plot(*series(subject.run, "train", "lr"), color=COLOURS[2])
    rates.set_ylim(bottom=0)
    rates.set_ylabel("learning rate")
    rates.set_xlabel("step")


def _rows(subject: Subject, floors: dict[str, float]) -> list[tuple[object, ...]]:
    """Best validation of each run, and the baselines."""
    rows: list[tuple[object, ...]] = []
    for run in (subject, *subject.beside):
        steps, values = series(run.run, "valid", "loss")
        if values:
            best = min(range(len(values)), key=values.__getitem__)
            rows.append((f"best of {run.name}", steps[best], values[best], math.exp(values[best])))
    rows.extend((name, "", value, math.exp(value)) for name, value in floors.items())
    return rows
