"""An LSTM with weights in 8 bits, by its definition in float64."""

import copy

import torch
from torch.nn.utils.rnn import pack_padded_sequence

from fastlstm.verify import make_inputs


def rounded_weight(weight):
    """In float64 what 8 bits hold of a float32 weight: of a row's largest magnitude / 127."""
    scale = weight.abs().amax(1, keepdim=True) / 127
    scale = torch.where(scale == 0, 1, scale)
    return (weight / scale).round().double() * scale.double()


def rounded(lstm):
    """The LSTM in float64 with weights as int8 has them."""
    oracle = copy.deepcopy(lstm).double()
    with torch.no_grad():
        for name, weight in lstm.named_parameters():
            if name.startswith("weight"):
                getattr(oracle, name).copy_(rounded_weight(weight))
    return oracle


def in_16_bits(a, least):
    """Rows of x or h in multiples of their largest magnitude, `least` or more, / 32767."""
    unit = a.abs().amax(-1, keepdim=True).clamp(min=least) / 32767
    return torch.where(unit == 0, 0, (a / unit).round() * unit)


def direction_in_16_bits(weights, x, h, c, lengths, reverse):
    """y ``[T, B, H]``, h and c of one direction, whose products are of x and h in 16 bits."""
    weight_ih, weight_hh, *biases = weights
    least = h.abs().amax(-1, keepdim=True).clamp(min=1)
    x, y = in_16_bits(x, torch.zeros(1)), x.new_zeros(*x.shape[:2], h.shape[1])
    for t in reversed(range(len(x))) if reverse else range(len(x)):
        gates = x[t] @ weight_ih.T + in_16_bits(h, least) @ weight_hh.T + sum(biases)
        i, f, g, o = gates.chunk(4, 1)
        new_c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        runs = (t < lengths)[:, None]
        y[t] = torch.where(runs, o.sigmoid() * new_c.tanh(), 0)
        h, c = torch.where(runs, y[t], h), torch.where(runs, new_c, c)
    return y, h, c


def stack_in_16_bits(lstm, x, hx, lengths):
    """`named_outputs` of a float64 LSTM without projections, by its definition."""
    directions = 2 if lstm.bidirectional else 1
    ys, h_n, c_n = [], [], []
    for n, weights in enumerate(lstm.all_weights):
        y, h, c = direction_in_16_bits(weights, x, hx[0][n], hx[1][n], lengths, n % directions)
        ys, h_n, c_n = [*ys, y], [*h_n, h], [*c_n, c]
        if len(ys) == directions:
            x, ys = torch.cat(ys, 2), []
    return {"output": x, "h_n": torch.stack(h_n), "c_n": torch.stack(c_n)}


def results_in_16_bits(case, lstm):
    """`named_outputs` of a case where x and h are in 16 bits, float32."""
    inputs = {name: tensor.double() for name, tensor in make_inputs(case).items()}
    hx = [inputs[name] if case.hx else torch.zeros_like(inputs[name]) for name in ("h_0", "c_0")]
    lengths = torch.tensor(case.lengths() if case.ragged else [case.T] * case.B)
    results = stack_in_16_bits(lstm, inputs["input"], hx, lengths)
    if case.ragged:
        packed = pack_padded_sequence(results["output"], lengths, enforce_sorted=False)
        results["output"] = packed.data
    return {name: tensor.float() for name, tensor in results.items()}
