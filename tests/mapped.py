"""Shared by the tests of row maps: a ragged case on a buffer in which its rows stand anywhere."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from fastlstm import functional
from fastlstm.verify import Case, make_inputs, make_peer


class Packing(NamedTuple):
    """What PackedSequence makes of a case, and where its rows stand."""

    steps_first: Tensor  # [N]: the row of [T*B] of each packed row
    batch_sizes: Tensor
    order: Tensor  # [B]: the sequence that each packed one is
    inverse: Tensor  # [B]
    rows: Tensor | None  # [N]: the map; None: packed rows
    room: int  # R


# Where rows stand: as packed; in the padded batch, steps or sequences first; anywhere.
LAYOUTS = ("time first", "batch first", "holes")


def packing(case: Case, layout: str) -> Packing:
    index = torch.arange(case.T * case.B).view(case.T, case.B)
    rows, *packed = pack_padded_sequence(index, case.lengths(), enforce_sorted=False)
    count = rows.shape[0]
    anywhere = torch.randperm(2 * count + 3, generator=torch.Generator().manual_seed(2))
    maps = {
        "packed": (None, count),
        "time first": (rows, case.T * case.B),
        "batch first": (rows % case.B * case.T + rows // case.B, case.T * case.B),
        "holes": (anywhere[:count], 2 * count + 3),
    }
    return Packing(rows, *packed, *maps[layout])


def spread(packed: Tensor, how: Packing) -> Tensor:
    """Packed rows where the map wants them, NaN around them."""
    if how.rows is None:
        return packed
    return packed.new_full((how.room, packed.shape[1]), float("nan")).index_copy(
        0, how.rows, packed
    )


def gathered(buffer: Tensor, how: Packing) -> Tensor:
    """The packed rows of a buffer, all others of which must be zero."""
    if how.rows is None:
        return buffer
    others = torch.ones(how.room, dtype=torch.bool)
    others[how.rows] = False
    assert buffer.shape[0] == how.room
    assert not buffer[others].any()  # true of NaN too
    return buffer[how.rows]


def call(case, layout, leaves, **options):
    """y as packed, h_n and c_n of the sequences in their order."""
    how = packing(case, layout)
    states = [leaves[name].index_select(1, how.order) for name in ("h_0", "c_0")]
    outputs = functional.lstm(
        leaves["input"],
        *states,
        [leaf for name, leaf in leaves.items() if name not in ("input", "h_0", "c_0")],
        how.batch_sizes,
        how.rows,
        num_layers=case.layers,
        **{"backend": "cpu"} | options,
    )
    y, h_n, c_n = outputs
    states = (state.index_select(1, how.inverse) for state in (h_n, c_n))
    return y, *states


def leaves_of(case, layout, inputs=None):
    """Input, states and weights by name, in which gradients are wanted."""
    how, inputs = packing(case, layout), inputs or make_inputs(case)
    leaves = {"input": spread(inputs["input"].flatten(0, 1)[how.steps_first], how)}
    for name in ("h_0", "c_0"):
        leaves[name] = inputs[name] if case.hx else torch.zeros_like(inputs[name])
    for name, parameter in make_peer(case).named_parameters():
        leaves[name] = parameter.detach().clone()
    return {name: leaf.clone().requires_grad_() for name, leaf in leaves.items()}


def mapped_quantities(case, layout, **options):
    """As `fastlstm.verify.quantities`: every result by name, without autograd and with it."""
    how, inputs = packing(case, layout), make_inputs(case)
    leaves, names = leaves_of(case, layout, inputs), ("output", "h_n", "c_n")
    with torch.no_grad():
        results = dict(zip(names, call(case, layout, leaves, **options), strict=True))
    results["output"] = gathered(results["output"], how)
    results = {f"{name} without grad": tensor for name, tensor in results.items()}
    outputs = call(case, layout, leaves, **options)
    arriving = [spread(inputs["d_output"], how), inputs["d_h_n"], inputs["d_c_n"]]
    grads = torch.autograd.grad(outputs, list(leaves.values()), arriving)
    for name, output in zip(names, outputs, strict=True):
        results[name] = (gathered(output, how) if name == "output" else output).detach()
    for name, grad in zip(leaves, grads, strict=True):
        results[f"grad {name}"] = grad
    dx = gathered(results["grad input"], how)
    padded = dx.new_zeros(case.T * case.B, case.I).index_copy(0, how.steps_first, dx)
    results["grad input"] = padded.view(case.T, case.B, case.I)
    if not case.hx:
        del results["grad h_0"], results["grad c_0"]
    return results
