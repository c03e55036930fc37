"""Eigenvalues of the recurrent weights, and the power method on them."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from torch import Tensor

from fastlstm.rnnlm.inspect.page import Section
from fastlstm.rnnlm.inspect.style import COLOURS, GREY
from fastlstm.rnnlm.inspect.subject import Subject
from fastlstm.rnnlm.inspect.trace import GRU_GATES, LSTM_GATES
from fastlstm.rnnlm.model import RNNLM, make_model

POWERS = 60
BLOCKS: dict[str, tuple[str, ...]] = {"lstm": LSTM_GATES, "gru": GRU_GATES, "rnn": ("h",)}


def view(subject: Subject) -> Section:
    """The spectrum of each block of one layer's W_hh, before and after training."""
    section = Section("spectrum", "Spectrum of the recurrent weights")
    layer = subject.shown_layer
    device = subject.model.decoder.weight.device
    before = make_model(len(subject.run.vocabulary), subject.config, device)
    blocks, fresh = (recurrent_blocks(model, layer) for model in (subject.model, before))
    section.say(
        f"Eigenvalues of W_hh of layer {layer} in the complex plane, with the unit circle; grey: "
        "as the run started. A gated cell has a W_hh for each gate. Below, the power method: W_hh "
        "applied k times to a random vector stretches it as |λ_max|^k in the end."
    )
    figure = Figure(figsize=(max(4.2, 3.1 * len(blocks)), 6.4), layout="constrained")
    axes = figure.subplots(2, len(blocks), squeeze=False)
    for column, (name, weight) in enumerate(blocks.items()):
        _draw_plane(axes[0, column], name, weight, fresh[name])
        _draw_powers(axes[1, column], weight)
    axes[0, 0].set_ylabel("imaginary part")
    axes[1, 0].set_ylabel("‖W^k v‖ / ‖v‖")
    section.draw("spectrum", figure)
    rows = [
        (name, spectral_radius(weight), spectral_radius(fresh[name]), largest_singular(weight))
        for name, weight in blocks.items()
    ]
    section.table(("block", "|λ_max|", "|λ_max| before training", "largest singular value"), rows)
    return section


def recurrent_blocks(model: RNNLM, layer: int) -> dict[str, Tensor]:
    """W_hh of a layer by gate, [H, H] each; of an Elman cell the one it has, as h."""
    weight: Tensor = getattr(model.rnn, f"weight_hh_l{layer}").detach()
    parts = weight.shape[0] // weight.shape[1]
    names = next((names for names in BLOCKS.values() if len(names) == parts), None)
    if names is None:
        raise ValueError(f"W_hh of shape {list(weight.shape)} is of no cell with a known spectrum")
    return dict(zip(names, weight.chunk(parts), strict=True))


def eigenvalues(weight: Tensor) -> Tensor:
    """Of a square matrix [H, H], complex128 [H]."""
    values: Tensor = torch.linalg.eigvals(weight.detach().cpu().double())
    return values


def spectral_radius(weight: Tensor) -> float:
    """|λ_max|."""
    return float(eigenvalues(weight).abs().max())


def largest_singular(weight: Tensor) -> float:
    """The most one application can stretch a vector."""
    return float(torch.linalg.matrix_norm(weight.detach().cpu().double(), 2))


def powers(weight: Tensor, count: int) -> Tensor:
    """‖W^k v‖ / ‖v‖ for k = 0..count, for a random v (always the same); float64 [count + 1]."""
    generator = torch.Generator().manual_seed(1)
    matrix = weight.detach().cpu().double()
    vector = torch.randn(len(matrix), generator=generator, dtype=torch.float64)
    vector /= vector.norm()
    norms = [vector.norm()]
    for _ in range(count):
        vector = matrix @ vector
        norms.append(vector.norm())
    return torch.stack(norms)


def _draw_plane(axes: Axes, name: str, weight: Tensor, fresh: Tensor) -> None:
    for matrix, colour, size in ((fresh, "0.7", 8), (weight, COLOURS[0], 12)):
        values = eigenvalues(matrix)
        axes.scatter(values.real.numpy(), values.imag.numpy(), s=size, color=colour, linewidths=0)
    axes.add_patch(Circle((0, 0), 1, fill=False, color=GREY, linewidth=0.8))
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_title(f"{name}: |λ_max| = {spectral_radius(weight):.3g}")
    axes.set_xlabel("real part")


def _draw_powers(axes: Axes, weight: Tensor) -> None:
    radius = spectral_radius(weight)
    axes.semilogy(powers(weight, POWERS).numpy(), color=COLOURS[0], label="‖W^k v‖")
    steps = torch.arange(POWERS + 1, dtype=torch.float64)
    axes.semilogy((radius**steps).numpy(), ":", color=COLOURS[1], label="|λ_max|^k")
    axes.axhline(1, color=GREY, linewidth=0.6)
    axes.set_xlabel("k")
    axes.legend()
