"""The cost of a word that depends on one far before it, by the distance between them."""

import math
import re

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure

from fastlstm.rnnlm.evaluation import token_losses
from fastlstm.rnnlm.france import SLIP, generate_france
from fastlstm.rnnlm.inspect.page import Section
from fastlstm.rnnlm.inspect.style import COLOURS, GREY
from fastlstm.rnnlm.inspect.subject import Subject

DOCUMENTS, MEAN, SEED = 3000, 8.0, 1  # of the text that is read; runs train on seed 0
LEAST = 20  # documents of a distance that give it a point
LINE = re.compile(r"I grew up in \w+ \. (.*)I speak fluent (\w+) \.\n")


def view(subject: Subject) -> Section:
    """Bits paid for LANGUAGE by the number of sentences since COUNTRY, for each run on france."""
    runs = (subject, *subject.beside)
    for run in runs:
        if run.config.text != "france":
            raise ValueError(f"{run.run.path} was not trained on france, whose distances are known")
        if run.config.level not in ("word", "char", "byte"):
            raise ValueError(f"LANGUAGE is not found among tokens of the {run.config.level} level")
        own = run.config.france_skin, run.config.france_countries
        if own != ("english", subject.config.france_countries):
            raise ValueError(
                f"{run.run.path} must be of the english skin and of as many countries as the other "
                f"runs, got {own[0]} and {own[1]}"
            )
    countries = subject.config.france_countries
    section = Section("distance", "Loss by the distance of the dependency")
    section.say(
        f"What LANGUAGE costs in {DOCUMENTS:,} new documents of france, by the number of sentences "
        "between COUNTRY and LANGUAGE. A model that has forgotten the country pays the upper line, "
        "the best possible one the lower."
    )
    text = generate_france(DOCUMENTS, MEAN, SEED, countries=countries).text
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    rows: list[tuple[object, ...]] = []
    for index, run in enumerate(runs):
        costs = language_bits(run, text)
        means = {d: float(np.mean(c)) for d, c in sorted(costs.items()) if len(c) >= LEAST}
        errors = [float(np.std(costs[d]) / math.sqrt(len(costs[d]))) for d in means]
        axes.errorbar(
            list(means), list(means.values()), errors, fmt="o-", markersize=4, capsize=2,
            color=COLOURS[index], label=run.name,
        )  # fmt: skip
        rows += [(run.name, d, len(costs[d]), mean) for d, mean in means.items()]
    for name, bits in (("forgotten", math.log2(countries)), ("best possible", optimum(countries))):
        axes.axhline(bits, color=GREY, linestyle="--", linewidth=0.9)
        axes.annotate(
            f"{name} {bits:.2f}", (1, bits), xycoords=("axes fraction", "data"), ha="right",
            xytext=(-2, 3), textcoords="offset points", color=GREY, fontsize=8,
        )  # fmt: skip
    axes.set(xlabel="sentences between COUNTRY and LANGUAGE", ylabel="bits for LANGUAGE")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left", bbox_to_anchor=(0, 1.13), ncols=len(runs))
    section.draw("distance", figure)
    section.table(("run", "sentences", "documents", "bits for LANGUAGE"), rows)
    return section


def optimum(countries: int) -> float:
    """The mean cost of LANGUAGE, in bits, for whoever knows COUNTRY."""
    others = countries - 1
    return -(1 - SLIP) * math.log2(1 - SLIP) - SLIP * math.log2(SLIP / others)


def language_bits(subject: Subject, text: str) -> dict[int, list[float]]:
    """What LANGUAGE costs in each document of a text, in bits, by its number of sentences."""
    vocabulary = subject.run.vocabulary
    tokens = torch.from_numpy(vocabulary.encode(text.encode()))
    losses = token_losses(subject.model, tokens, vocabulary.start).double().numpy() / math.log(2)
    costs: dict[int, list[float]] = {}
    for sentences, cost in zip(*_languages(text, subject.config.level, losses), strict=True):
        costs.setdefault(sentences, []).append(cost)
    return costs


def _languages(
    text: str, level: str, losses: npt.NDArray[np.float64]
) -> tuple[list[int], list[float]]:
    """Sentences before each LANGUAGE, and its cost: of its token, or of all its letters."""
    sentences, costs = [], []
    word = 0
    for line in LINE.finditer(text):
        sentences.append(line[1].count("."))
        words = line[0].split(" ")
        if level == "word":
            costs.append(float(losses[word + len(words) - 2]))
            word += len(words) + 1
        else:
            start, end = line.span(2)
            costs.append(float(losses[start:end].sum()))
    return sentences, costs
