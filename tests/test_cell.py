"""fastlstm.LSTMCell: what nn.LSTMCell takes, gives, prints and refuses."""

import copy
import io
import pickle

import pytest
import torch
from accuracy import assert_as_accurate, to_float64
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

import fastlstm
from fastlstm.backends import cpu

I, H = 5, 7
FORMS = {  # shape of the input's batch, and whether states are given
    "unbatched": ((), False),
    "unbatched-hx": ((), True),
    "one": ((1,), True),
    "batch": ((6,), False),
    "batch-hx": ((6,), True),
    "empty": ((0,), True),
}


def make_pair(bias=True, dtype=torch.float32, sizes=(I, H), **kwargs):
    peer = nn.LSTMCell(*sizes, bias, dtype=dtype)
    ours = fastlstm.LSTMCell(*sizes, bias, dtype=dtype, **kwargs)
    ours.load_state_dict(peer.state_dict())
    return ours, peer


def point(batch, with_hx, dtype=torch.float32, sizes=(I, H)):
    """x and hx at which both are compared."""
    x = torch.randn(*batch, sizes[0], dtype=dtype)
    hx = tuple(torch.randn(*batch, sizes[1], dtype=dtype) for _ in range(2))
    return x, hx if with_hx else None


def results(module, x, hx, needs):
    """h, c and the gradients of everything that `needs` names."""
    x = x.detach().requires_grad_("x" in needs)
    hx = hx and tuple(s.detach().requires_grad_("hx" in needs) for s in hx)
    module.requires_grad_("weights" in needs)
    h, c = module(x, hx)
    named = {"h": h, "c": c}
    if needs:
        wanted = {"x": x} if "x" in needs else {}
        wanted |= {"h_0": hx[0], "c_0": hx[1]} if hx and "hx" in needs else {}
        wanted |= dict(module.named_parameters()) if "weights" in needs else {}
        loss = h.double().square().sum() + c.double().sin().sum()
        gradients = torch.autograd.grad(loss, list(wanted.values()))
        named |= {f"d{name}": d for name, d in zip(wanted, gradients, strict=True)}
    return named


def assert_same(ours, peer, x, hx, needs):
    exact = results(copy.deepcopy(peer).double(), x.double(), to_float64(hx), needs)
    theirs = results(peer, x, hx, needs)
    for name, got in results(ours, x, hx, needs).items():
        assert_as_accurate(name, got, exact[name], theirs[name])


@pytest.mark.parametrize(
    "needs", [(), ("x",), ("hx",), ("weights",), ("x", "hx", "weights")], ids=str
)
@pytest.mark.parametrize(("batch", "with_hx"), FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
def test_results_and_gradients(bias, batch, with_hx, needs):
    if needs == ("hx",) and not with_hx:
        needs = ()
    ours, peer = make_pair(bias)
    assert_same(ours, peer, *point(batch, with_hx), needs)


@pytest.mark.parametrize("isa", cpu.isas())
@pytest.mark.parametrize("size", [3, 16, 33, 130])
@pytest.mark.parametrize("batch", [1, 2, 17])
def test_sizes_on_every_variant(isa, size, batch):
    ours, peer = make_pair(sizes=(size + 2, size), backend="cpu")
    with cpu.use_isa(isa):
        for needs in ((), ("x", "hx", "weights")):
            assert_same(ours, peer, *point((batch,), True, sizes=(size + 2, size)), needs)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("needs", [(), ("x", "hx", "weights")], ids=["inference", "training"])
def test_other_dtypes(dtype, needs):
    ours, peer = make_pair(dtype=dtype)
    assert_same(ours, peer, *point((6,), True, dtype), needs)


@pytest.mark.parametrize("backend", ["cpu", "aten", "reference"])
def test_backends_by_name(backend):
    ours, peer = make_pair(backend=backend)
    assert_same(ours, peer, *point((6,), True), ("x", "hx", "weights"))


def test_a_backend_by_name_never_falls_back():
    with pytest.raises(RuntimeError, match=r"backend='cpu' cannot run .* torch.float64"):
        fastlstm.LSTMCell(I, H, dtype=torch.float64, backend="cpu")(torch.zeros(2, I).double())
    with pytest.raises(ValueError, match="backend must be one of"):
        fastlstm.LSTMCell(I, H, backend="gpu")


@pytest.mark.parametrize("strided", ["x", "hx", "weights", "expanded"])
def test_strides(strided):
    ours, peer = make_pair()
    x, hx = point((6,), True)
    if strided == "x":
        x = x.t().contiguous().t()
    elif strided == "hx":
        hx = tuple(s.t().contiguous().t() for s in hx)
    elif strided == "expanded":
        x, hx = x[:1].expand(6, I), tuple(s[:1].expand(6, H) for s in hx)
    else:
        for module in (ours, peer):
            weight = module.weight_hh.detach()
            module.weight_hh = nn.Parameter(weight.t().contiguous().t())
    assert_same(ours, peer, x, hx, ("x", "hx", "weights"))


def test_many_steps_as_a_loop():
    ours, peer = make_pair()
    x = torch.randn(9, 4, I)
    losses = []
    for module in (ours, peer):
        hx, total = None, 0
        for x_t in x:
            hx = module(x_t, hx)
            total = total + hx[0].square().sum()
        total.backward()
        losses.append(total)
    torch.testing.assert_close(*losses)
    for name, parameter in peer.named_parameters():
        torch.testing.assert_close(dict(ours.named_parameters())[name].grad, parameter.grad)


WRONG = {
    "3d": (torch.zeros(1, 2, I), None),
    "0d": (torch.zeros(()), None),
    "size": (torch.zeros(2, I + 1), None),
    "h-3d": (torch.zeros(2, I), (torch.zeros(1, 2, H), torch.zeros(2, H))),
    "h-size": (torch.zeros(2, I), (torch.zeros(2, H + 1), torch.zeros(2, H))),
    "c-size": (torch.zeros(2, I), (torch.zeros(2, H), torch.zeros(2, H + 1))),
    "h-batch": (torch.zeros(2, I), (torch.zeros(3, H), torch.zeros(3, H))),
    "dtype": (torch.zeros(2, I).double(), None),
    "integers": (torch.zeros(2, I).long(), None),
    "one-state": (torch.zeros(2, I), (torch.zeros(2, H),)),
}


@pytest.mark.parametrize(("x", "hx"), WRONG.values(), ids=WRONG.keys())
def test_errors_are_those_of_nn_lstm_cell(x, hx):
    failures = []
    for module in make_pair():
        with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is the question
            module(x, hx)
        failures.append((caught.type, str(caught.value)))
    assert failures[0] == failures[1]


def test_same_seed_same_parameters_and_repr():
    modules = []
    for cls in (fastlstm.LSTMCell, nn.LSTMCell):
        torch.manual_seed(1)
        modules.append(cls(I, H, bias=False))
    ours, peer = modules
    assert repr(ours) == repr(peer)
    assert list(ours.state_dict()) == list(peer.state_dict())
    for name, tensor in peer.state_dict().items():
        assert torch.equal(ours.state_dict()[name], tensor)


def test_is_an_nn_lstm_cell_that_copies_saves_and_loads():
    ours, x = fastlstm.LSTMCell(I, H, backend="reference"), torch.randn(2, I)
    assert isinstance(ours, nn.LSTMCell)
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert twin.backend == "reference"
        torch.testing.assert_close(twin(x), ours(x))
    file = io.BytesIO()
    torch.save(ours.state_dict(), file)
    file.seek(0)
    nn.LSTMCell(I, H).load_state_dict(torch.load(file, weights_only=True))


def test_meta_device():
    h, c = fastlstm.LSTMCell(I, H, device="meta")(torch.empty(3, I, device="meta"))
    assert h.is_meta
    assert (h.shape, c.shape) == ((3, H), (3, H))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_dtypes(dtype):
    ours, peer = make_pair()
    x, hx = point((4,), True)
    with torch.autocast("cpu", dtype):
        got, expected = ours(x, hx), peer(x, hx)
    assert [t.dtype for t in got] == [t.dtype for t in expected]
    torch.testing.assert_close(got, expected, atol=0.02, rtol=0.02)


def test_gradients_of_gradients():
    ours = fastlstm.LSTMCell(3, 4)
    names = [name for name, _ in ours.named_parameters()]

    def cell(x, h, c, *weights):
        parameters = dict(zip(names, weights, strict=True))
        return torch.func.functional_call(ours, parameters, (x, (h, c)))

    at = [torch.randn(2, 3), torch.randn(2, 4), torch.randn(2, 4)]
    at += [parameter.detach() for parameter in ours.parameters()]
    at = [tensor.double().requires_grad_() for tensor in at]
    assert gradcheck(cell, at)
    assert gradgradcheck(cell, at)


def test_gradient_penalty_in_float32():
    gradients = []
    for module in make_pair():
        x = torch.linspace(-1, 1, 2 * I).view(2, I).requires_grad_()
        h, c = module(x)
        (d,) = torch.autograd.grad(h.square().sum() + c.sum(), x, create_graph=True)
        d.square().sum().backward()
        gradients.append({name: p.grad for name, p in module.named_parameters()})
    torch.testing.assert_close(*gradients)


def test_transforms():
    ours, xs = fastlstm.LSTMCell(I, H), torch.randn(4, 2, I)
    got = torch.func.vmap(lambda x: ours(x)[0])(xs)
    torch.testing.assert_close(got, torch.stack([ours(x)[0] for x in xs]))
    members = [fastlstm.LSTMCell(I, H) for _ in range(3)]
    parameters, _ = torch.func.stack_module_state(members)
    got = torch.func.vmap(
        lambda p: torch.func.functional_call(members[0], p, (xs[0],))[0], randomness="different"
    )(parameters)
    torch.testing.assert_close(got, torch.stack([member(xs[0])[0] for member in members]))
    _, tangent = torch.func.jvp(lambda x: ours(x)[0], (xs[0],), (xs[1],))
    jacobian = torch.func.jacrev(lambda x: ours(x)[0])(xs[0])
    torch.testing.assert_close(tangent, torch.einsum("bhdi,di->bh", jacobian, xs[1]))


@pytest.mark.parametrize("compiler", ["aot_eager", "inductor"])
def test_fullgraph(compiler):
    torch._dynamo.reset()
    ours, _ = make_pair()
    compiled = torch.compile(ours, fullgraph=True, backend=compiler)
    for with_hx in (True, False):
        x, hx = point((6,), with_hx)
        got, expected = compiled(x, hx), ours(x, hx)
        torch.testing.assert_close(got, expected)
        parameters = list(ours.parameters())
        torch.testing.assert_close(
            torch.autograd.grad(got[0].sum(), parameters),
            torch.autograd.grad(expected[0].sum(), parameters),
        )


def test_h_and_c_may_be_changed_in_place():
    """As with nn.LSTMCell: an in-place ReLU or dropout of h, or a state that is masked."""
    peer, x = nn.LSTMCell(5, 7), torch.randn(2, 3, 5)
    ours = fastlstm.LSTMCell(5, 7)
    ours.load_state_dict(peer.state_dict())
    gradients = []
    for cell in (ours, peer):
        h, c = cell(x[0])
        h.relu_()
        h, _ = cell(x[1], (h.clone(), c.clone()))
        (h.mul_(2).sum() + c.mul_(3).sum()).backward()
        gradients.append([p.grad for p in cell.parameters()])
    torch.testing.assert_close(*gradients)


def test_without_features():
    x = torch.randn(3, 5)
    for states in (None, (torch.zeros(3, 0), torch.zeros(3, 0))):
        h, c = fastlstm.LSTMCell(5, 0)(x, states)
        assert h.shape == c.shape == (3, 0)
