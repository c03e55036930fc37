"""What every unit did, against the cells' formulas written out again."""

from dataclasses import replace

import pytest
import torch

from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.inspect.gates import maps_of, open_units
from fastlstm.rnnlm.inspect.saturation import saturated
from fastlstm.rnnlm.inspect.trace import predictions, trace_units
from fastlstm.rnnlm.model import make_model

CONFIG = Config(hidden=7, layers=2, embedding=5)
TOKENS = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6])
EXACT = {"rtol": 0, "atol": 1e-12}


def model_of(cell, **changes):
    return make_model(11, replace(CONFIG, cell=cell, **changes), torch.device("cpu")).double()


def weights(rnn, layer, parts):
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return [getattr(rnn, f"{name}_l{layer}").detach().chunk(parts) for name in names]


def by_hand(model, step):
    """h [L, N, H] and all else that `step(x, h, c, layer)` gives, unit by unit and step by step."""
    with torch.no_grad():
        inputs = list(model.embedding(torch.cat([torch.tensor([0]), TOKENS])))
        layers, hidden = model.rnn.num_layers, model.rnn.hidden_size
        found = []
        for layer in range(layers):
            h = c = torch.zeros(hidden, dtype=torch.float64)
            rows = []
            for x in inputs:
                values = step(x, h, c, weights(model.rnn, layer, step.parts))
                h, c = values["h"], values.get("c", c)
                rows.append(values)
            inputs = [row["h"] for row in rows]
            found.append({name: torch.stack([r[name] for r in rows[1:]]) for name in rows[0]})
        return {name: torch.stack([layer[name] for layer in found]) for name in found[0]}


def lstm_step(x, h, c, w):
    i, f, g, o = (a @ x + b @ h + d + e for a, b, d, e in zip(*w, strict=True))
    i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
    c = f * c + i * g
    return {"i": i, "f": f, "g": g, "o": o, "c": c, "h": o * torch.tanh(c)}


def gru_step(x, h, c, w):
    (ri, zi, ni), (rh, zh, nh) = (
        [a @ v + b for a, b in zip(w[k], w[k + 2], strict=True)] for k, v in ((0, x), (1, h))
    )
    r, z = torch.sigmoid(ri + rh), torch.sigmoid(zi + zh)
    n = torch.tanh(ni + r * nh)
    return {"r": r, "z": z, "n": n, "h": (1 - z) * n + z * h}


def rnn_step(x, h, c, w):
    return {"h": torch.tanh(w[0][0] @ x + w[1][0] @ h + w[2][0] + w[3][0])}


lstm_step.parts, gru_step.parts, rnn_step.parts = 4, 3, 1


@pytest.mark.parametrize(
    ("cell", "implementation", "step"),
    [
        ("lstm", "fastlstm", lstm_step),
        ("lstm", "torch", lstm_step),
        ("gru", "fastlstm", gru_step),
        ("rnn", "fastlstm", rnn_step),
    ],
)
def test_trace_is_the_cells_formula(cell, implementation, step):
    model = model_of(cell, implementation=implementation)
    trace = trace_units(model, TOKENS, 0)
    expected = by_hand(model, step)
    got = {"h": trace.h, **trace.gates} | ({} if trace.c is None else {"c": trace.c})
    assert got.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(got[name], expected[name], **EXACT, msg=lambda m: f"{name}: {m}")  # noqa: B023
    assert trace.memory.abs().max() <= 1


@pytest.mark.parametrize(("cell", "step"), [("lstm", lstm_step), ("gru", gru_step)])
def test_predictions_are_the_decoders(cell, step):
    model = model_of(cell, dropout_output=0.5).train()
    p = predictions(model, TOKENS, 0)
    assert model.training
    assert p.shape == (len(TOKENS) + 1, 11)
    h = by_hand(model, step)["h"][-1]
    with torch.no_grad():
        expected = torch.softmax(h @ model.decoder.weight.T + model.decoder.bias, 1)
    torch.testing.assert_close(p[1:], expected, **EXACT)


def test_kernels_of_float32_see_the_same():
    model = model_of("lstm")
    exact = trace_units(model, TOKENS, 0)
    trace = trace_units(model.float(), TOKENS, 0)
    for name, gate in exact.gates.items():
        torch.testing.assert_close(trace.gates[name].double(), gate, rtol=0, atol=1e-6)
    torch.testing.assert_close(trace.c.double(), exact.c, rtol=0, atol=1e-6)


def test_maps_and_open_units_are_of_the_layer():
    model = model_of("lstm")
    trace, expected = trace_units(model, TOKENS, 0), by_hand(model, lstm_step)
    maps = maps_of(trace, 0)
    assert list(maps) == ["i", "f", "g", "o", "c", "h"]
    torch.testing.assert_close(maps["f"], expected["f"][0], **EXACT)
    counts = open_units(trace, 1)
    assert counts.keys() == {"i", "f", "o"}
    for name, count in counts.items():
        assert count == [sum(v > 0.5 for v in row) for row in expected[name][1].tolist()]
    assert open_units(trace, 0) != counts


def test_saturation_counts_tokens():
    gate = torch.tensor([[[0.05, 0.95], [0.2, 0.99], [0.01, 0.5], [0.5, 0.92]]])  # [L 1, N 4, H 2]
    low, high = saturated(gate, 0.1, 0.9)
    assert low.tolist() == [[0.5, 0.0]]
    assert high.tolist() == [[0.0, 0.75]]
