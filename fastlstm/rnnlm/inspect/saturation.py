"""How much of the time each gate is saturated: shut, open, or neither (Karpathy et al., 2015)."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from fastlstm.rnnlm.inspect.gates import NAMES, SIGNED
from fastlstm.rnnlm.inspect.page import Section
from fastlstm.rnnlm.inspect.style import COLOURS
from fastlstm.rnnlm.inspect.subject import Subject
from fastlstm.rnnlm.inspect.trace import Trace, trace_units

TOKENS = 3000
LOW, HIGH = 0.1, 0.9
BINS = 40


def view(subject: Subject) -> Section:
    """For each gate: a point for each unit, and a histogram of all values."""
    section = Section("saturation", "Saturation of the gates")
    tokens = subject.tokens(TOKENS)
    trace = trace_units(subject.model, tokens, subject.run.vocabulary.start)
    values = squashed(trace)
    bounds = {name: (-HIGH, HIGH) if name in SIGNED else (LOW, HIGH) for name in values}
    section.say(
        f"A point is a unit: the part of {len(tokens):,} tokens at which its gate was shut (below "
        f"{LOW:g}) and open (above {HIGH:g}); for g, n and h below {-HIGH:g} and above {HIGH:g}. A "
        "unit near the origin is never decided, one near the diagonal always is. A forget gate at "
        "the right is an integrator: it keeps its memory. Below: how often each value occurs."
    )
    if not trace.gates:
        section.note("an Elman cell has no gates: the saturation of its tanh is drawn")
    figure = Figure(figsize=(max(4.2, 2.9 * len(values)), 6), layout="constrained")
    axes = figure.subplots(2, len(values), squeeze=False, height_ratios=(1.4, 1))
    rows: list[tuple[object, ...]] = []
    for column, (name, gate) in enumerate(values.items()):
        low, high = saturated(gate, *bounds[name])
        axes[0, column].set_title(NAMES.get(name, name))
        axes[0, column].set_xlabel(f"part of time above {bounds[name][1]:g}")
        axes[0, column].set_ylabel(f"part of time below {bounds[name][0]:g}")
        _draw_units(axes[0, column], low, high)
        _draw_histogram(axes[1, column], gate, -1.0 if name in SIGNED else 0.0)
        rows += [
            (name, layer, float(low[layer].mean()), float(high[layer].mean()))
            for layer in range(len(gate))
        ]
    axes[1, 0].set_ylabel("part of all values")
    axes[0, 0].legend(title="layer", loc="upper right")
    section.draw("saturation", figure)
    section.table(("gate", "layer", "part of time below", "above, mean of units"), rows)
    return section


def squashed(trace: Trace) -> dict[str, Tensor]:
    """What can saturate: the gates [L, N, H] by name, or h where there is none."""
    return trace.gates or {"h": trace.h}


def saturated(gate: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """The part of the time [L, H] that each unit of a gate [L, N, H] is below, and above."""
    return (gate < low).float().mean(1), (gate > high).float().mean(1)


def _draw_units(axes: Axes, low: Tensor, high: Tensor) -> None:
    for layer in range(len(low)):
        axes.scatter(
            high[layer].numpy(), low[layer].numpy(), s=12, alpha=0.6, linewidths=0,
            color=COLOURS[layer % 7], label=str(layer),
        )  # fmt: skip
    axes.plot([0, 1], [1, 0], color="0.8", linewidth=0.8, zorder=0)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    axes.set_aspect("equal")


def _draw_histogram(axes: Axes, gate: Tensor, least: float) -> None:
    for layer, values in enumerate(gate):
        counts = torch.histc(values.float(), BINS, least, 1)
        edges = torch.linspace(least, 1, BINS + 1)
        axes.stairs((counts / counts.sum()).numpy(), edges.numpy(), color=COLOURS[layer % 7])
    axes.set(xlim=(least, 1), xlabel="value")
