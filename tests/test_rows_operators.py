"""Row maps around the kernels: backends without them, operators, compilers, errors."""

import pytest
import torch
from mapped import call, leaves_of, mapped_quantities, packing
from torch.library import opcheck

from fastlstm import backends, functional
from fastlstm.verify import Case

CASE = Case(5, 4, 3, 6, layers=2, bidirectional=True, ragged=True)
I, H = CASE.I, CASE.H


@pytest.mark.parametrize("layout", ["batch first", "holes"])
@pytest.mark.parametrize("backend", ["auto", "triton", "aten", "reference"])
@pytest.mark.parametrize("proj", [0, 5])
def test_backends(backend, layout, proj):
    if backend != "auto":
        reason = backends.get(backend).why_not(backends.Problem("cpu", torch.float32, proj))
        if reason:
            pytest.skip(reason)
    case = Case(5, 4, 3, 6, layers=2, bidirectional=True, ragged=True, proj=proj)
    expected = mapped_quantities(case, "packed")
    for name, tensor in mapped_quantities(case, layout, backend=backend).items():
        torch.testing.assert_close(tensor, expected[name], msg=lambda m, name=name: f"{name}: {m}")


def op_inputs(layers=2, directions=2):
    """x, h_0, c_0, weights, batch_sizes, rows and num_layers for the operators."""
    rows = torch.tensor([3, 0, 11, 5, 1, 7, 2, 9, 10])
    rest = [(4 * H, H), (4 * H,), (4 * H,)]
    shapes = [(4 * H, I), *rest] * directions
    shapes += [(4 * H, directions * H), *rest] * directions * (layers - 1)
    states = [torch.randn(layers * directions, 3, H) for _ in range(2)]
    weights = [0.3 * torch.randn(shape) for shape in shapes]
    return torch.randn(13, I), *states, weights, torch.tensor([3, 3, 2, 1]), rows, layers


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("layers", [1, 3])
class TestOperators:
    @pytest.mark.parametrize("save", [True, False], ids=["save", "inference"])
    def test_forward(self, layers, directions, save):
        inputs = op_inputs(layers, directions)
        opcheck(torch.ops.fastlstm.lstm_forward.default, (*inputs, save, "cpu"))

    @pytest.mark.parametrize("needs", [(True, True), (True, False), (False, True)], ids=str)
    def test_backward(self, layers, directions, needs):
        inputs = op_inputs(layers, directions)
        y, h_n, c_n, *kept = torch.ops.fastlstm.lstm_forward.default(*inputs, True, "cpu")
        dy, dh_n, dc_n = (torch.randn_like(tensor) for tensor in (y, h_n, c_n))
        needs_dweights = [needs[1]] * layers
        arguments = (dy, dh_n, dc_n, *inputs, y, *kept, needs[0], needs_dweights, "cpu")
        opcheck(torch.ops.fastlstm.lstm_backward.default, arguments)


def flat(x, h_0, c_0, sizes, rows, *weights, backend="cpu"):
    return functional.lstm(x, h_0, c_0, weights, sizes, rows, num_layers=2, backend=backend)


def flat_inputs(dtype=torch.float32):
    """Arguments of `flat`, and those of them that have gradients."""
    x, h_0, c_0, weights, sizes, rows, _ = op_inputs()
    leaves = [tensor.to(dtype).requires_grad_() for tensor in (x, h_0, c_0, *weights)]
    return (*leaves[:3], sizes, rows, *leaves[3:]), leaves


@pytest.mark.parametrize("compiler", ["aot_eager", "inductor"])
def test_fullgraph(compiler):
    torch._dynamo.reset()
    compiled = torch.compile(flat, fullgraph=True, backend=compiler)
    inputs, leaves = flat_inputs()
    found = []
    for function in (compiled, flat):
        outputs = function(*inputs)
        loss = sum(output.square().sum() for output in outputs)
        found.append([*outputs, *torch.autograd.grad(loss, leaves)])
    torch.testing.assert_close(*found)
    with torch.no_grad():
        torch.testing.assert_close(compiled(*inputs), flat(*inputs))


@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_gradgradcheck(backend):
    inputs, leaves = flat_inputs(torch.float64)

    def function(x, h_0):
        return flat(x, h_0, *inputs[2:], backend=backend)

    assert torch.autograd.gradcheck(function, leaves[:2])
    assert torch.autograd.gradgradcheck(function, leaves[:2])


def test_gradient_penalty():
    found = []
    for backend in ("cpu", "reference"):
        torch.manual_seed(0)
        inputs, leaves = flat_inputs()
        loss = sum(output.square().sum() for output in flat(*inputs, backend=backend))
        (dx,) = torch.autograd.grad(loss, leaves[0], create_graph=True)
        found.append([dx, *torch.autograd.grad(dx.square().sum() + loss, leaves)])
    torch.testing.assert_close(*found)


def test_transforms():
    """vmap over inputs and over weights, and forward-mode AD: by the reference."""
    (x, *others), _ = flat_inputs()
    xs = torch.randn(3, *x.shape)
    got = torch.func.vmap(lambda x: flat(x, *others)[0])(xs)
    torch.testing.assert_close(got, torch.stack([flat(x, *others)[0] for x in xs]))
    weight = others[4]
    rest = others[:4], others[5:]
    several = torch.randn(3, *weight.shape)
    got = torch.func.vmap(lambda w: flat(x, *rest[0], w, *rest[1])[0])(several)
    one_by_one = [flat(x, *rest[0], w, *rest[1])[0] for w in several]
    torch.testing.assert_close(got, torch.stack(one_by_one))
    point = x.detach()
    _, tangent = torch.func.jvp(lambda x: flat(x, *others)[0], (point,), (xs[0],))
    exact = [t.detach().double() if t.is_floating_point() else t for t in others]
    ends = [flat(point.double() + s * 1e-6 * xs[0], *exact, backend="aten")[0] for s in (1, -1)]
    torch.testing.assert_close(tangent.double(), (ends[0] - ends[1]) / 2e-6, rtol=1e-4, atol=1e-5)


def test_autocast():
    """On a CPU autocast leaves packed rows as they are, mapped or not."""
    how, leaves = packing(CASE, "holes"), leaves_of(CASE, "holes")
    expected = call(CASE, "holes", leaves, backend="auto")
    with torch.autocast("cpu", torch.bfloat16):
        got = call(CASE, "holes", leaves, backend="auto")
    torch.testing.assert_close(got, expected, rtol=0, atol=0)
    assert got[0].shape[0] == how.room


WRONG = {
    "negative": ([0, -1, 2, 3], "13 rows of the input.*got -1 at 1"),
    "beyond": ([0, 1, 2, 13], "13 rows of the input.*got 13 at 3"),
    "twice": ([4, 1, 2, 4], "no two the same, got 4 at 3"),
    "too few": ([0, 1, 2], "batch_sizes must .* sum to 3"),
    "too many": ([0, 1, 2, 3, 4], "batch_sizes must .* sum to 5"),
    "2d": ([[0, 1, 2, 3]], "rows must be one row"),
    "none": ([], "batch_sizes must .* sum to 0"),
}


@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no-grad"])
@pytest.mark.parametrize("wrong", WRONG)
def test_rows_that_do_not_fit(wrong, grad):
    rows, words = WRONG[wrong]
    x, h_0, c_0, weights, *_ = op_inputs(1, 1)
    sizes, rows = torch.tensor([3, 1]), torch.tensor(rows, dtype=torch.int64)
    for weight in weights:
        weight.requires_grad_(grad)
    with pytest.raises(RuntimeError, match=words):
        functional.lstm(x, h_0, c_0, weights, sizes, rows, backend="cpu")
    if grad:
        return
    right = torch.arange(4)
    y, h_n, c_n, *kept = torch.ops.fastlstm.lstm_forward(
        x, h_0, c_0, weights, sizes, right, 1, True, "cpu"
    )
    inputs = (y, h_n, c_n, x, h_0, c_0, weights, sizes, rows, 1, y, *kept)
    with pytest.raises(RuntimeError, match=f"{words}|^c must have"):
        torch.ops.fastlstm.lstm_backward(*inputs, True, [True], "cpu")


@pytest.mark.parametrize("dtype", [torch.int32, torch.float32, torch.bool], ids=str)
def test_rows_of_another_type(dtype):
    x, h_0, c_0, weights, sizes, rows, _ = op_inputs(1, 1)
    with pytest.raises(RuntimeError, match=r"torch.int64 on the CPU, got .*\[9\]"):
        functional.lstm(x, h_0, c_0, weights, sizes, rows.to(dtype), backend="cpu")


@pytest.mark.parametrize("backend", ["auto", "cpu", "aten", "reference"])
def test_rows_alone(backend):
    x, h_0, c_0, weights, _, rows, _ = op_inputs(1, 1)
    with pytest.raises(ValueError, match="rows must come with batch_sizes"):
        functional.lstm(x, h_0, c_0, weights, None, rows, backend=backend)
    with pytest.raises(RuntimeError, match=r"h_0 and c_0 must|rows must come with batch_sizes"):
        torch.ops.fastlstm.lstm_forward(x, h_0, c_0, weights, None, rows, 1, False, "cpu")


def test_a_backend_without_row_maps_refuses_them():
    inputs = op_inputs()
    with pytest.raises(RuntimeError, match="rows must be None for backend='triton'"):
        torch.ops.fastlstm.lstm_forward(*inputs, False, "triton")


def test_under_another_default_device():
    inputs, _ = flat_inputs()
    with torch.device("meta"):
        got = flat(*inputs)
    torch.testing.assert_close(got, flat(*inputs), rtol=0, atol=0)


def test_rows_that_lie_apart():
    (x, h_0, c_0, sizes, rows, *weights), _ = flat_inputs()
    apart = torch.stack([rows, -rows], 1)[:, 0]
    assert not apart.is_contiguous()
    got = flat(x, h_0, c_0, sizes, apart, *weights)
    torch.testing.assert_close(got, flat(x, h_0, c_0, sizes, rows, *weights), rtol=0, atol=0)
