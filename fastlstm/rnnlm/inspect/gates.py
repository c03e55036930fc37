"""Heat maps of gates and states over the words of a sentence, and how many units are open."""

from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from fastlstm.rnnlm.inspect.page import Section
from fastlstm.rnnlm.inspect.style import COLOURS, DIVERGING, SEQUENTIAL, drawable_words
from fastlstm.rnnlm.inspect.subject import Subject
from fastlstm.rnnlm.inspect.trace import Trace, trace_units

MOST = 40  # tokens of a sentence that still have legible names
OPEN = 0.5
NAMES = {
    "i": "i: input gate", "f": "f: forget gate", "g": "g: candidate", "o": "o: output gate",
    "c": "c: cell state", "h": "h: output", "r": "r: reset gate", "z": "z: update gate",
    "n": "n: candidate",
}  # fmt: skip
SIGNED = {"g", "n", "c", "h"}


def view(subject: Subject) -> Section:
    """Heat maps of one layer over a sentence."""
    section = Section("gates", "Gates and states, word by word")
    tokens, labels = subject.sentence(MOST + 1)
    if len(tokens) > MOST and subject.given is not None:
        section.note(f"of the text the first {MOST} tokens are drawn")
    tokens, labels = tokens[:MOST], labels[:MOST]
    trace = trace_units(subject.model, tokens, subject.run.vocabulary.start)
    layer = subject.shown_layer
    section.say(
        f"Layer {layer} of {subject.layers}, counted from 0: a row is a unit, a column is what the "
        f"unit did when it read that token. Read: {' '.join(labels)}"
    )
    if any(label.endswith("*") and len(label) > 1 for label in labels):
        section.note("tokens with * are not in the run's vocabulary; the model read <unk>")
    shown = drawable_words(labels, section, subject.font)
    maps = maps_of(trace, layer)
    if not trace.gates:
        section.note("an Elman cell has no gates: only its state h is drawn")
    section.draw("gates", _draw_maps(maps, shown))
    counts = open_units(trace, layer)
    if counts:
        section.say(
            f"A unit counts as open at a token where its gate is above {OPEN:g}; the layer has "
            f"{subject.config.hidden} units."
        )
        section.draw("gates-open", _draw_open(counts, shown, subject.config.hidden))
        rows = [(label, *(count[n] for count in counts.values())) for n, label in enumerate(labels)]
        section.table(("token", *(f"{name} open" for name in counts)), rows)
    if subject.unit is not None:
        title = f"layer {layer}, unit {subject.unit}"
        section.draw("gates-unit", _draw_unit(maps, shown, subject.unit, title))
    return section


def maps_of(trace: Trace, layer: int) -> dict[str, Tensor]:
    """What is drawn of a layer: gates and states by name, [N, H] each."""
    maps = {name: gate[layer] for name, gate in trace.gates.items()}
    if trace.c is not None:
        maps["c"] = trace.c[layer]
    return maps | {"h": trace.h[layer]}


def open_units(trace: Trace, layer: int) -> dict[str, list[int]]:
    """How many units have each gate open, at each token; candidates are no gates."""
    return {
        name: (gate[layer] > OPEN).sum(1).tolist()
        for name, gate in trace.gates.items()
        if name not in SIGNED
    }


def _draw_maps(maps: dict[str, Tensor], labels: list[str]) -> Figure:
    columns = 1 if len(maps) == 1 else 2 if len(maps) == 4 or len(labels) > 16 else 3
    rows = -(-len(maps) // columns)
    width = min(14.0, max(3.4, 1.2 + 0.26 * len(labels)) * columns)
    figure = Figure(figsize=(width, 0.6 + 3.6 * rows), layout="constrained")
    for axes, (name, values) in zip(
        figure.subplots(rows, columns, squeeze=False).flat, maps.items(), strict=True
    ):
        picture = axes.imshow(
            values.T.numpy(), aspect="auto", interpolation="nearest", **_scale(name, values)
        )
        figure.colorbar(picture, ax=axes, pad=0.02)
        axes.set_title(NAMES.get(name, name))
        axes.set_ylabel("unit")
        name_columns(axes, labels)
    return figure


def _scale(name: str, values: Tensor) -> dict[str, Any]:
    """Colours of a map: gates from 0 to 1, states around 0."""
    if name not in SIGNED:
        return {"cmap": SEQUENTIAL, "vmin": 0, "vmax": 1}
    # c has no bound: a few units that count without end must not make all others pale
    most = float(torch.quantile(values.abs().flatten(), 0.99)) if name == "c" else 1.0
    return {"cmap": DIVERGING, "vmin": -max(most, 1e-6), "vmax": max(most, 1e-6)}


def name_columns(axes: Axes, labels: list[str]) -> None:
    """Tokens under the columns, upright where they are short."""
    long = max(map(len, labels)) > 2
    axes.set_xticks(range(len(labels)), labels, rotation=60 if long else 0)
    if long:
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axes.tick_params(axis="x", length=0)


def _draw_open(counts: dict[str, list[int]], labels: list[str], hidden: int) -> Figure:
    figure = Figure(
        figsize=(min(16.0, max(6.0, 0.65 * len(labels) + 2)), 3.2), layout="constrained"
    )
    axes = figure.subplots()
    width = 0.8 / len(counts)
    for index, (name, values) in enumerate(counts.items()):
        at = [n - 0.4 + width * (index + 0.5) for n in range(len(values))]
        bars = axes.bar(at, values, width, color=COLOURS[index], label=NAMES.get(name, name))
        if len(labels) <= 16:
            axes.bar_label(bars, fontsize=7, padding=1)
    axes.axhline(hidden, color="0.6", linewidth=0.8, linestyle="--")
    axes.set_ylabel(f"open units of {hidden}")
    axes.legend(ncols=len(counts), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    name_columns(axes, labels)
    return figure


def _draw_unit(maps: dict[str, Tensor], labels: list[str], unit: int, title: str) -> Figure:
    figure = Figure(figsize=(min(16.0, max(6.0, 0.4 * len(labels) + 2)), 3.2), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color="0.8", linewidth=0.8)
    for index, (name, values) in enumerate(maps.items()):
        style = "-" if name in SIGNED else "--"
        axes.plot(
            values[:, unit].numpy(),
            style,
            color=COLOURS[index],
            marker="o",
            markersize=3,
            label=name,
        )
    axes.set_title(title)
    axes.legend(ncols=len(maps), loc="lower center", bbox_to_anchor=(0.5, 1.08))
    name_columns(axes, labels)
    return figure
