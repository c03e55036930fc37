"""Text coloured by units, and a ranking of the units that track something a reader can name."""

from matplotlib.figure import Figure
from torch import Tensor

from fastlstm.rnnlm.inspect.coloured import text_figure, text_html
from fastlstm.rnnlm.inspect.features import token_features
from fastlstm.rnnlm.inspect.page import Section
from fastlstm.rnnlm.inspect.ranking import Ranked, rank_units
from fastlstm.rnnlm.inspect.style import COLOURS, hint, use_font_for
from fastlstm.rnnlm.inspect.subject import Subject
from fastlstm.rnnlm.inspect.trace import predictions, trace_units

TOKENS = 20_000  # that the ranking reads
VALUES = 2**26  # that a trace may hold
SHOWN = 1200  # tokens coloured in the report
BEST = 6  # units listed for a feature
LIKELIEST = 3  # next tokens named when a token is pointed at


def view(subject: Subject) -> Section:
    """The ranking, then the text coloured by the best unit of each feature, or by the one asked."""
    section = Section("units", "Units that track something")
    vocabulary = subject.run.vocabulary
    values_per_token = 6 * subject.layers * subject.config.hidden
    tokens = subject.tokens(max(SHOWN, min(TOKENS, VALUES // values_per_token)))
    trace = trace_units(subject.model, tokens, vocabulary.start)
    pieces = subject.pieces(tokens)
    rankings = {}
    for name, feature in token_features(pieces).items():
        rankings[name] = rank_units(trace.memory, feature, BEST)
        if not rankings[name]:
            section.note(f"{name}: not to be seen in this text of {len(tokens):,} tokens")
    rankings = {name: ranked for name, ranked in rankings.items() if ranked}
    if rankings:
        _show_ranking(section, rankings, len(tokens))
    chosen = _chosen(subject, rankings)
    hints = _hints(subject, tokens[:SHOWN])
    shown = pieces[:SHOWN]
    section.say(
        "Colour is what a unit remembers after it read a token, tanh(c) or h: red is +1, blue is "
        "-1. Point at a token for its probability and for what the model expected next."
    )
    rows = []
    for title, layer, unit in chosen:
        values = trace.memory[layer, : len(shown), unit].tolist()
        rows.append((title, values))
        section.html(f"<h3>{title}</h3>")
        section.html(text_html(shown, values, hints))
    missing = use_font_for(shown, subject.font)
    if missing:
        section.note(hint(missing, "until then units-text.png has boxes for them"))
    boxes = str.maketrans(dict.fromkeys(missing, "\u25a1"))
    section.draw("units-text", text_figure([p.translate(boxes) for p in shown], rows), shown=False)
    return section


def _show_ranking(section: Section, rankings: dict[str, list[Ranked]], tokens: int) -> None:
    section.say(
        f"Mutual information between a unit's memory and a feature of the text, as a part of the "
        f"feature's entropy (1: the unit tells it exactly). Of {tokens:,} tokens the first half "
        "chose the units, the second half gave these numbers. r is the correlation."
    )
    figure = Figure(figsize=(2.7 * max(2, len(rankings)) + 0.6, 2.6), layout="constrained")
    for axes, (index, (name, ranked)) in zip(
        figure.subplots(1, len(rankings), sharex=True, squeeze=False)[0],
        enumerate(rankings.items()),
        strict=True,
    ):
        names = [f"{unit.layer}:{unit.unit}" for unit in ranked]
        bars = axes.barh(names, [unit.share for unit in ranked], color=COLOURS[index])
        axes.bar_label(
            bars, [f"r {unit.correlation:+.2f}" for unit in ranked], padding=3, fontsize=8
        )
        axes.set(title=name, xlim=(0, 1), xlabel="share of entropy")
        axes.invert_yaxis()
        if index == 0:
            axes.set_ylabel("layer:unit")
    section.draw("units", figure)
    rows = [
        (name, unit.layer, unit.unit, unit.share, unit.correlation)
        for name, ranked in rankings.items()
        for unit in ranked
    ]
    section.table(("feature", "layer", "unit", "share of entropy", "correlation"), rows)


def _chosen(subject: Subject, rankings: dict[str, list[Ranked]]) -> list[tuple[str, int, int]]:
    """Title, layer and unit of each coloured text."""
    if subject.unit is not None:
        layer = subject.shown_layer
        return [(f"layer {layer}, unit {subject.unit}", layer, subject.unit)]
    best: dict[tuple[int, int], list[str]] = {}  # a unit may be the best for several features
    for name, (unit, *_) in rankings.items():
        reason = f"best of all for {name}, {unit.share:.2f} of its entropy"
        best.setdefault((unit.layer, unit.unit), []).append(reason)
    if not best:
        return [(f"layer {subject.shown_layer}, unit 0", subject.shown_layer, 0)]
    return [
        (f"layer {layer}, unit {unit}: {'; '.join(reasons)}", layer, unit)
        for (layer, unit), reasons in best.items()
    ]


def _hints(subject: Subject, tokens: Tensor) -> list[str]:
    """For each token: its own probability, and the likeliest tokens after it."""
    p_next = predictions(subject.model, tokens, subject.run.vocabulary.start)
    own = p_next[:-1].gather(1, tokens[:, None])[:, 0].tolist()
    top = p_next[1:].topk(min(LIKELIEST, p_next.shape[1]), dim=1)
    hints = []
    for p, values, numbers in zip(own, top.values.tolist(), top.indices.tolist(), strict=True):
        named = (
            f"{''.join(subject.run.vocabulary.decode([number])).strip(' ') or ' '!r} {value:.2f}"
            for number, value in zip(numbers, values, strict=True)
        )
        hints.append(f"p {p:.3f}; next: {', '.join(named)}")
    return hints
