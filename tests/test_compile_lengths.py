"""torch.compile where sizes depend on data: lengths, resets, packed and nested input."""

import pytest
import torch
from torch.library import opcheck
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence
from torch.utils._pytree import tree_leaves

import fastlstm

B, I, H = 5, 4, 6
STEPS = (7, 9, 12)  # none is another size: equal sizes share a symbol
CONFIGS = {
    "plain": {},
    "stacked": {"num_layers": 2, "bidirectional": True},
    "batch-first": {"batch_first": True},
    "proj": {"proj_size": 3},
    "dropout": {"num_layers": 2, "dropout": 0.5},
}
each_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
each_compiler = pytest.mark.parametrize("compiler", ["aot_eager", "inductor"])


@pytest.fixture(autouse=True)
def fresh_dynamo():
    torch._dynamo.reset()


def padded(module, steps):
    return torch.randn((B, steps, I) if module.batch_first else (steps, B, I))


def some_lengths(steps):
    return torch.cat((torch.tensor([0, steps]), torch.randint(1, steps + 1, (B - 2,))))


def some_resets(x):
    return torch.rand(x.shape[:2]) < 0.3


def some_state(module):
    rows = module.num_layers * (1 + module.bidirectional)
    return torch.randn(rows, B, module.proj_size or H), torch.randn(rows, B, H)


def with_lengths(module, steps):
    return padded(module, steps), {"lengths": some_lengths(steps)}


def with_hx(module, steps):
    return padded(module, steps), {"hx": some_state(module), "lengths": some_lengths(steps)}


def with_resets(module, steps):
    x = padded(module, steps)
    return x, {"resets": some_resets(x)}


def with_all(module, steps):
    x = padded(module, steps)
    given = {"lengths": some_lengths(steps), "resets": some_resets(x)}
    return x, given | {"hx": some_state(module), "reset_hx": some_state(module)}


def packed(enforce_sorted):
    def make(module, steps):
        lengths = some_lengths(steps).clamp(min=1)
        if enforce_sorted:
            lengths = lengths.sort(descending=True)[0]
        x = padded(module, steps)
        return pack_padded_sequence(x, lengths, module.batch_first, enforce_sorted), {}

    return make


FORMS = {
    "lengths": with_lengths,
    "hx": with_hx,
    "resets": with_resets,
    "all": with_all,
    "packed": packed(False),
    "sorted-by-its-maker": packed(True),
}
each_form = pytest.mark.parametrize("make", FORMS.values(), ids=FORMS.keys())


def results(function, module, x, given):
    """Outputs and every gradient of one call."""
    data = x.data if isinstance(x, PackedSequence) else x
    leaf = data.detach().requires_grad_()
    x = x._replace(data=leaf) if isinstance(x, PackedSequence) else leaf
    states = {
        name: tuple(s.detach().requires_grad_() for s in given[name])
        for name in ("hx", "reset_hx")
        if name in given
    }
    torch.manual_seed(1)  # of dropout
    output, state = function(x, **(given | states))
    output = output.data if isinstance(output, PackedSequence) else output
    loss = output.square().sum() + state[0].sin().sum() + state[1].cos().sum()
    leaves = [leaf, *tree_leaves(states), *module.parameters()]
    return [output, *state, *torch.autograd.grad(loss, leaves)]


def check_one_graph(module, make, compiler):
    compiled = torch.compile(module, fullgraph=True, backend=compiler, dynamic=True)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for steps in STEPS:
            x, given = make(module, steps)
            expected = results(module, module, x, given)
            torch.testing.assert_close(results(compiled, module, x, given), expected)


@each_form
@each_config
def test_one_graph_for_any_steps_and_mixture(config, make):
    check_one_graph(fastlstm.LSTM(I, H, **config), make, "aot_eager")


@each_form
def test_one_graph_by_inductor(make):
    check_one_graph(fastlstm.LSTM(I, H, 2, bidirectional=True), make, "inductor")


@each_form
def test_inference(make):
    ours = fastlstm.LSTM(I, H, 2, bidirectional=True).eval()
    compiled = torch.compile(ours, fullgraph=True)
    with torch.no_grad():
        x, given = make(ours, 7)
        torch.testing.assert_close(tree_leaves(compiled(x, **given)), tree_leaves(ours(x, **given)))


@pytest.mark.parametrize("backend", ["cpu", "triton"])
def test_no_item_has_a_step(backend):
    device = "cuda" if backend == "triton" and torch.cuda.is_available() else "cpu"
    if backend == "triton":
        pytest.importorskip("triton")
    ours = fastlstm.LSTM(I, H, 2, bidirectional=True, backend=backend, device=device)
    compiled = torch.compile(ours, fullgraph=True, backend="aot_eager", dynamic=True)
    for lengths in (torch.tensor([3, 0, 7, 1, 2]), torch.zeros(B, dtype=torch.int64)):
        given = {"lengths": lengths, "hx": tuple(s.to(device) for s in some_state(ours))}
        x = torch.randn(7, B, I, device=device)
        torch.testing.assert_close(results(compiled, ours, x, given), results(ours, ours, x, given))


def test_a_list_of_lengths():
    ours, x = fastlstm.LSTM(I, H), torch.randn(7, B, I)
    compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
    for lengths in ([3, 0, 7, 1, 2], [4, 2, 2, 6, 5]):
        given = {"lengths": lengths}
        torch.testing.assert_close(results(compiled, ours, x, given), results(ours, ours, x, given))


def test_inductor_need_not_guess_what_the_operators_are():
    with torch._inductor.config.patch(implicit_fallbacks=False):
        ours = fastlstm.LSTM(I, H)
        compiled = torch.compile(ours, fullgraph=True)
        for make in FORMS.values():
            x, given = make(ours, 7)
            torch.testing.assert_close(
                results(compiled, ours, x, given), results(ours, ours, x, given)
            )


def test_wrong_lengths_are_the_same_error():
    ours, x = fastlstm.LSTM(I, H), torch.randn(7, B, I)
    compiled = torch.compile(ours, fullgraph=True)
    compiled(x, lengths=torch.full((B,), 7))
    with pytest.raises(ValueError, match="lengths must be from 0 to 7, the steps of the input"):
        compiled(x, lengths=torch.full((B,), 8))


@pytest.mark.filterwarnings("ignore")
@each_compiler
def test_jagged_nested_tensors(compiler):
    ours = fastlstm.LSTM(I, H, 2, batch_first=True, bidirectional=True)
    compiled = torch.compile(ours, fullgraph=True, backend=compiler, dynamic=True)
    for sizes in ([3, 1, 4], [5, 9, 2]):
        items = [torch.randn(size, I) for size in sizes]
        got, expected = [], []
        for function, kept in ((compiled, got), (ours, expected)):
            nested = torch.nested.nested_tensor(items, layout=torch.jagged, requires_grad=True)
            output, state = function(nested)
            assert output.is_nested
            output.values().square().sum().backward()
            kept += [output.values(), *state, nested.grad.values()]
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("directions", [1, 2])
def test_operators(directions):
    x, ops = torch.randn(7, B, I), torch.ops.fastlstm
    lengths, resets = some_lengths(7), some_resets(x)
    for given in ((lengths, None), (None, resets), (lengths, resets)):
        opcheck(ops.plan_padded.default, (x, *given, False, directions))
    opcheck(ops.plan_nested.default, (torch.tensor([0, 3, 7]), None, directions))
    opcheck(ops.plan_nested.default, (torch.tensor([0, 3, 7]), torch.tensor([2, 4]), directions))
    opcheck(ops.items.default, (torch.tensor([4, 3, 2]),))
