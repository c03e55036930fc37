"""Cell states and gates of every step, asked for with `return_cells` and `return_gates`."""

import copy

import pytest
import torch
from accuracy import assert_as_accurate
from torch import nn

from fastlstm import LSTM, functional, reference
from fastlstm.backends import cpu
from fastlstm.noise import Noise


def recomputed(module, x, hx):
    """h of every layer and step of a forward run of one direction, from its cells and gates."""
    _, _, traced, gates = module(x, hx, return_cells=True, return_gates=True)
    i, f, g, o = gates.unbind(-2)
    before = torch.cat((hx[1][:, None], traced[:, :-1]), 1)
    torch.testing.assert_close(f * before + i * g, traced)
    return o * traced.tanh()


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("backend", ["cpu", "reference", "aten"])
def test_they_are_those_of_the_equations(backend, grad):
    module, x = LSTM(5, 18, num_layers=2, backend=backend), torch.randn(6, 3, 5)
    hx = torch.randn(2, 3, 18), torch.randn(2, 3, 18)
    with torch.set_grad_enabled(grad):
        output, (h_n, c_n), cells = module(x, hx, return_cells=True)
        h = recomputed(module, x, hx)
    assert cells.shape == (2, 6, 3, 18)
    torch.testing.assert_close(output, module(x, hx)[0])
    torch.testing.assert_close(h[1], output)
    torch.testing.assert_close(h[:, -1], h_n)
    torch.testing.assert_close(cells[:, -1], c_n)


CASES = {
    "odd": {"hidden_size": 37},
    "stack": {"hidden_size": 20, "num_layers": 3, "bidirectional": True},
    "projected": {"hidden_size": 20, "num_layers": 2, "proj_size": 7, "bidirectional": True},
    "no biases": {"hidden_size": 16, "bias": False},
}


@pytest.mark.parametrize("case", CASES)
def test_kernels_are_as_accurate_as_the_reference(isa, case):
    """c, the gates, and the gradients of all of them, in packed rows."""
    module, sizes = LSTM(5, backend="cpu", **CASES[case]), torch.tensor([4, 3, 3, 1])
    layers, batch = module.num_layers * (1 + module.bidirectional), 4
    tensors = [torch.randn(int(sizes.sum()), 5)]
    tensors += [
        torch.randn(layers, batch, n)
        for n in (module.proj_size or module.hidden_size, module.hidden_size)
    ]
    tensors += [weight.detach() for weight in module._flat_weights]

    def run(function, dtype):
        leaves = [tensor.to(dtype).requires_grad_() for tensor in tensors]
        outputs = function(*leaves[:3], leaves[3:])
        torch.manual_seed(1)
        arriving = [torch.randn(output.shape).to(dtype) for output in outputs]
        return [*outputs, *torch.autograd.grad(outputs, leaves, arriving)]

    def kernels(x, h_0, c_0, weights):
        how = {"num_layers": module.num_layers, "backend": "cpu"}
        return functional.lstm_and_trace(x, h_0, c_0, weights, sizes, **how)

    def by_reference(x, h_0, c_0, weights):
        return reference.lstm(x, h_0, c_0, weights, sizes, module.num_layers, trace=True)

    found = (
        run(kernels, torch.float32),
        run(by_reference, torch.float64),
        run(by_reference, torch.float32),
    )
    for n, three in enumerate(zip(*found, strict=True)):
        assert_as_accurate(f"result {n}", *three)


def test_every_variant_gives_the_same_places():
    module, x, found = LSTM(5, 37, num_layers=2, bidirectional=True), torch.randn(4, 3, 5), []
    for name in cpu.isas():
        with cpu.use_isa(name):
            found.append(module(x, return_cells=True, return_gates=True)[2:])
    for others in found[1:]:
        torch.testing.assert_close(others, found[0])


def test_bfloat16():
    module, x = LSTM(5, 18, dtype=torch.bfloat16), torch.randn(4, 3, 5, dtype=torch.bfloat16)
    _, _, *found = module(x, return_cells=True, return_gates=True)
    exact = copy.deepcopy(module).double()
    _, _, *wanted = exact(x.double(), return_cells=True, return_gates=True)
    for got, want in zip(found, wanted, strict=True):
        assert got.dtype == torch.bfloat16
        torch.testing.assert_close(got.double(), want, atol=0.02, rtol=0.02)


ASKED = {"return_cells": True, "return_gates": True}
LENGTHS = [4, 6, 2]


def call(module, form, x):
    """Cells and gates of the batch ``x [B, T, I]`` given in a form; and how to find sequence n."""
    rows = [x[n, :length] for n, length in enumerate(LENGTHS)]
    if form == "packed":
        given = nn.utils.rnn.pack_sequence(rows, enforce_sorted=False)
        _, _, *found = module(given, **ASKED)

        def sequence(of_rows, n):
            return nn.utils.rnn.unpack_sequence(given._replace(data=of_rows))[n]

        return found, sequence
    if form == "nested":
        _, _, *found = module(torch.nested.nested_tensor(rows, layout=torch.jagged), **ASKED)
        return found, lambda of_rows, n: of_rows.split(LENGTHS)[n]
    if form == "batch_first":
        _, _, *found = module(x, **ASKED)
        return found, lambda of_batch, n: of_batch[n, : LENGTHS[n]]
    _, _, *found = module(x.transpose(0, 1), lengths=LENGTHS, **ASKED)
    return found, lambda of_batch, n: of_batch[: LENGTHS[n], n]


@pytest.mark.parametrize("hidden_size", [8, [8, 6]], ids=["one size", "list"])
@pytest.mark.parametrize("form", ["batch_first", "lengths", "packed", "nested"])
def test_every_form_of_input(form, hidden_size):
    """Of each sequence they are those of it alone."""
    how = {} if isinstance(hidden_size, list) else {"num_layers": 2}
    module = LSTM(5, hidden_size, batch_first=form in ("batch_first", "nested"), **how)
    alone = LSTM(5, hidden_size, **how)
    alone.load_state_dict(module.state_dict())
    x = torch.randn(3, 6, 5)
    found, sequence = call(module, form, x)
    for n, length in enumerate(LENGTHS):
        _, _, *wanted = alone(x[n, :length], **ASKED)
        for of_all, of_one in zip(found, wanted, strict=True):
            for layer in range(2):
                torch.testing.assert_close(sequence(of_all[layer], n), of_one[layer])


def test_beyond_its_length_an_item_has_none():
    (cells, gates), _ = call(LSTM(5, 8), "lengths", torch.randn(3, 6, 5))
    assert not cells[:, 2:, 2].any()
    assert not gates[:, 2:, 2].any()
    assert gates[:, :2, 2].all()


def test_resets_begin_anew():
    module, x, resets = LSTM(5, 8, num_layers=2), torch.randn(6, 2, 5), torch.zeros(6, 2).bool()
    resets[4, 0] = True
    _, _, *found = module(x, resets=resets, **ASKED)
    parts = zip(*(module(part, **ASKED)[2:] for part in (x[:4], x[4:])), strict=True)
    for got, (first, second), whole in zip(found, parts, module(x, **ASKED)[2:], strict=True):
        torch.testing.assert_close(got[:, :, 0], torch.cat((first, second), 1)[:, :, 0])
        torch.testing.assert_close(got[:, :, 1], whole[:, :, 1])


def test_gradients_of_a_loss_on_cells_and_gates():
    module, x = LSTM(3, 4, num_layers=2, bidirectional=True).double(), torch.randn(3, 2, 3).double()
    torch.autograd.gradcheck(lambda x: module(x, **ASKED)[2:], x.requires_grad_())
    torch.autograd.gradgradcheck(lambda x: module(x, **ASKED)[2:], x)


def test_a_loss_on_the_output_alone_is_left_to_the_kernels(monkeypatch):
    """Asking costs no step-by-step backward where nothing arrives at cells or gates."""
    module, x = LSTM(3, 4, backend="cpu"), torch.randn(3, 2, 3)
    module(x)[0].sum().backward()
    wanted = [parameter.grad.clone() for parameter in module.parameters()]
    module.zero_grad()
    monkeypatch.setattr(reference, "lstm", None)
    output, *_ = module(x, return_cells=True, return_gates=True)
    output.sum().backward()
    for parameter, grad in zip(module.parameters(), wanted, strict=True):
        assert torch.equal(parameter.grad, grad)


def test_with_zoneout_c_is_what_was_kept():
    x, h_0, c_0 = torch.randn(4, 3, 5), torch.zeros(1, 3, 8), torch.randn(1, 3, 8)
    weights, drawn = LSTM(5, 8)._flat_weights, Noise((0.3, 0.5, 0.2), torch.tensor(3))
    got = functional.lstm_and_trace(x, h_0, c_0, weights, noise=drawn)
    wanted = reference.lstm(x, h_0, c_0, weights, noise=drawn, trace=True)
    torch.testing.assert_close(got, wanted)


def test_dropout_between_layers():
    module, x = LSTM(5, 8, num_layers=3, dropout=0.5), torch.randn(4, 3, 5)
    torch.manual_seed(3)
    output, _, cells, gates = module(x, return_cells=True, return_gates=True)
    torch.manual_seed(3)
    torch.testing.assert_close(module(x)[0], output)
    torch.testing.assert_close(gates[2, ..., 3, :] * cells[2].tanh(), output)


def test_compiled_and_vmapped():
    module, x = LSTM(5, 8, num_layers=2), torch.randn(4, 3, 5)

    def run(x):
        return module(x, return_cells=True, return_gates=True)

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), run(x))
    xs = torch.randn(2, 4, 3, 5)
    cells = torch.func.vmap(lambda x: run(x)[2])(xs)
    torch.testing.assert_close(cells, torch.stack([run(x)[2] for x in xs]))
    _, tangent = torch.func.jvp(lambda x: run(x)[2].sum(), (x,), (torch.ones_like(x),))
    grad = torch.func.grad(lambda x: run(x)[2].sum())(x)
    torch.testing.assert_close(tangent, grad.sum())


def test_what_torchs_operator_has_not_is_refused():
    module, x = LSTM(5, 8), torch.randn(4, 3, 5)
    with pytest.raises(RuntimeError, match="return_cells must be None where torch's operator"):
        torch.jit.trace(lambda x: module(x, return_cells=True), x)
