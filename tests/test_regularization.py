"""The module's regularisation: what it asks of the layers, in which mode, and in which form."""

import copy
import pickle

import pytest
import torch
from torch import nn

import fastlstm
from fastlstm import LSTM

FORMS = {
    "recurrent_dropout": {"recurrent_dropout": 0.5},
    "zoneout": {"zoneout": 0.5},
    "zoneout of c": {"zoneout": (0.5, 0.0)},
    "weight_drop": {"weight_drop": 0.5},
    "locked_dropout": {"dropout": 0.5, "locked_dropout": True},
}


@pytest.fixture(params=FORMS)
def form(request):
    return FORMS[request.param]


def make(form, **kwargs):
    torch.manual_seed(0)
    return LSTM(6, 8, num_layers=2, **form, **kwargs)


def run(module, x, seed=3, **kwargs):
    torch.manual_seed(seed)
    return module(x, **kwargs)[0]


def test_training_is_random_and_a_seed_says_how(form):
    module, x = make(form), torch.randn(5, 3, 6)
    assert torch.equal(run(module, x), run(module, x))
    assert not torch.equal(run(module, x), run(module, x, seed=4))
    first = module(x)[0]
    assert not torch.equal(first, module(x)[0])


def test_eval_is_that_of_an_ordinary_lstm_but_for_the_expectation_of_zoneout(form):
    module, x = make(form).eval(), torch.randn(5, 3, 6)
    plain = LSTM(6, 8, num_layers=2)
    plain.load_state_dict(module.state_dict())
    same = torch.equal(module(x)[0], plain(x)[0])
    assert same == ("zoneout" not in form)
    assert torch.equal(run(module, x), run(module, x, seed=4))


def test_where_all_of_h_is_dropped_the_gates_see_none():
    module, x = LSTM(6, 8, recurrent_dropout=1.0), torch.randn(1, 3, 6).expand(4, 3, 6)
    nn.init.zeros_(module.weight_ih_l0)
    for name in ("bias_ih_l0", "bias_hh_l0"):
        nn.init.zeros_(getattr(module, name))
    output, _ = module(x, (torch.randn(1, 3, 8), torch.zeros(1, 3, 8)))
    assert not output.any()


def test_zoneout_of_everything_keeps_the_states():
    module, hx = LSTM(6, 8, num_layers=2, zoneout=1.0), (torch.randn(2, 3, 8), torch.randn(2, 3, 8))
    output, (h_n, c_n) = module(torch.randn(4, 3, 6), hx)
    assert torch.equal(h_n, hx[0])
    assert torch.equal(c_n, hx[1])
    assert torch.equal(output, hx[0][1].expand(4, 3, 8))


def test_weight_drop_zeroes_weight_hh_alone_and_scales_the_rest():
    module, x = make({"weight_drop": 0.5}, bidirectional=True), torch.randn(5, 3, 6)
    torch.manual_seed(3)
    peer = nn.LSTM(6, 8, num_layers=2, bidirectional=True)
    peer.load_state_dict(module.state_dict())
    torch.manual_seed(3)
    with torch.no_grad():
        for name, weight in peer.named_parameters():
            if name.startswith("weight_hh"):
                weight.copy_(nn.functional.dropout(weight, 0.5))
    torch.testing.assert_close(run(module, x), peer(x)[0])
    run(module, x).sum().backward()
    dropped = module.weight_hh_l0.grad == 0
    assert 0.3 < dropped.float().mean() < 0.7


def locked_mask(module, x, **kwargs):
    """Which features of the first layer's output reach the second: it copies them to its g."""
    width, upper = module.weight_hh_l0.shape[1], module.weight_hh_l1.shape[1]
    with torch.no_grad():
        for weight in module.parameters():
            weight.zero_()
        module.bias_ih_l0[2 * width : 3 * width] = 3.0
        module.weight_ih_l1[2 * upper : 3 * upper] = torch.eye(upper, width)
        for bias, size in ((module.bias_ih_l0, width), (module.bias_ih_l1, upper)):
            bias[:size], bias[size : 2 * size], bias[3 * size :] = 9.0, -9.0, 9.0
    return run(module, x, **kwargs) != 0


@pytest.mark.parametrize("packed", [False, True])
def test_locked_dropout_has_one_mask_for_all_steps_of_a_sequence(packed):
    module, x = make({"dropout": 0.5, "locked_dropout": True}), torch.randn(5, 3, 6)
    if packed:
        lengths = torch.tensor([2, 5, 3])
        seen = locked_mask(module, x, lengths=lengths)
        masks = [seen[:length, n] for n, length in enumerate(lengths.tolist())]
    else:
        masks = list(locked_mask(module, x).unbind(1))
    for mask in masks:
        assert (mask == mask[0]).all()
    firsts = torch.stack([mask[0] for mask in masks])
    assert 0.2 < firsts.float().mean() < 0.8
    assert (firsts != firsts[0]).any()


def test_every_form_of_input(form):
    module, x = make(form, bidirectional=True), torch.randn(5, 3, 6)
    lengths = [2, 5, 3]
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
    torch.manual_seed(3)
    by_lengths, state = module(x, lengths=lengths)
    torch.manual_seed(3)
    output, packed_state = module(packed)
    padded, _ = nn.utils.rnn.pad_packed_sequence(output)
    torch.testing.assert_close(by_lengths, padded)
    torch.testing.assert_close(state, packed_state)
    resets = torch.zeros(5, 3, dtype=torch.bool)
    resets[2, 1] = True
    assert run(module, x, resets=resets).shape == (5, 3, 16)
    assert run(module, x[:, 0]).shape == (5, 16)


@pytest.mark.parametrize("batch_first", [False, True])
def test_a_hidden_size_per_layer(form, batch_first):
    module, x = LSTM(6, [8, 4], batch_first=batch_first, **form), torch.randn(5, 3, 6)
    nested = torch.nested.nested_tensor([x[0, :2], x[1, :3]], layout=torch.jagged)
    packed = nn.utils.rnn.pack_sequence([x[0, :3], x[1, :2]])
    for given in (x, x[0], packed, *([nested] if batch_first else [])):
        first, again, other = (run(module, given, seed) for seed in (3, 3, 4))
        rows = [getattr(y, "data", y) if given is packed else y for y in (first, again, other)]
        rows = [y.values() for y in rows] if given is nested else rows
        assert torch.equal(rows[0], rows[1])
        assert not torch.equal(rows[0], rows[2])
    if "locked_dropout" in form:
        masks = locked_mask(module, x)
        masks = masks.transpose(0, 1) if batch_first else masks
        assert (masks == masks[0]).all()
        assert (masks[0] != masks[0][0]).any()


def test_gradients_of_gradients(form):
    module, x = make(form).double(), torch.randn(3, 2, 6).double().requires_grad_()
    torch.autograd.gradcheck(lambda x: run(module, x), x)
    torch.autograd.gradgradcheck(lambda x: run(module, x), x)


def test_gradients_of_gradients_are_those_of_the_numbers_drawn(form):
    """The kernels' gradient, and the reference's, which is differentiable, of the same call."""
    module, x = make(form), torch.randn(4, 3, 6, requires_grad=True)
    plain = torch.autograd.grad(run(module, x).square().sum(), x)
    again = torch.autograd.grad(run(module, x).square().sum(), x, create_graph=True)
    torch.testing.assert_close(plain, again)


def test_checkpoint_draws_the_same_again(form):
    module, x = make(form), torch.randn(4, 3, 6, requires_grad=True)
    (plain,) = torch.autograd.grad(run(module, x).sum(), x)
    torch.manual_seed(3)
    y = torch.utils.checkpoint.checkpoint(lambda x: module(x)[0], x, use_reentrant=False)
    (again,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(plain, again)


def test_compiled_in_one_graph(form):
    module, x = make(form), torch.randn(4, 3, 6)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(run(compiled, x), run(module, x))
    run(compiled, x).sum().backward()
    assert module.weight_hh_l0.grad.any()


def test_vmap_draws_for_each_or_for_all(form):
    module, x = make(form), torch.randn(1, 4, 3, 6).expand(2, 4, 3, 6)

    def mapped(randomness):
        return torch.func.vmap(lambda x: module(x)[0], randomness=randomness)(x)

    different, same = mapped("different"), mapped("same")
    assert torch.equal(same[0], same[1])
    assert not torch.equal(different[0], different[1])


def test_a_stream_takes_the_expectation_of_zoneout(form):
    module, x = make(form).eval(), torch.randn(4, 3, 6)
    stream = module.stream(batch_size=3)
    with torch.no_grad():
        torch.testing.assert_close(torch.stack([stream(step) for step in x]), module(x)[0])


def test_inference_with_bfloat16_weights(form):
    module, x = make(form, precision="bf16").eval(), torch.randn(4, 3, 6)
    with torch.no_grad():
        torch.testing.assert_close(
            module(x)[0], module.double()(x.double())[0].float(), atol=0.02, rtol=0
        )


def test_copies_and_repr_know_of_it(form):
    module, x = make(form), torch.randn(4, 3, 6)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(run(twin, x), run(module, x))
    for name, value in form.items():
        assert f"{name}={value}" in repr(module)


def test_what_torch_has_no_operator_for_is_refused_in_words(form):
    module, x = make(form), torch.randn(4, 3, 6)
    with pytest.raises(RuntimeError, match=r"an LSTM cannot be traced in training mode with "):
        torch.jit.trace(module, x)
    with pytest.raises(RuntimeError, match=r"an LSTM cannot be scripted in training mode with "):
        torch.jit.script(module)
    report = fastlstm.restore(nn.Sequential(module))
    assert not report.changed
    assert list(report.kept) == ["0"]
    assert type(module) is LSTM


def test_without_it_an_lstm_is_restored():
    model = nn.Sequential(make({"recurrent_dropout": 0.0}))
    fastlstm.restore(model)
    assert type(model[0]) is nn.LSTM
    assert model[0](torch.randn(4, 3, 6))[0].shape == (4, 3, 8)


@pytest.mark.parametrize("name", ["recurrent_dropout", "zoneout", "weight_drop"])
@pytest.mark.parametrize("rate", [-0.1, 1.5, True])
def test_a_rate_must_be_a_probability(name, rate):
    with pytest.raises(ValueError, match=rf"{name}.* must be a probability, from 0 to 1, got"):
        LSTM(6, 8, **{name: rate})


def test_zoneout_of_h_and_a_projection_exclude_each_other():
    with pytest.raises(ValueError, match=r"zoneout of h must be 0 with proj_size=4, got 0.1"):
        LSTM(6, 8, proj_size=4, zoneout=0.1)
    module = LSTM(6, 8, proj_size=4, zoneout=(0.1, 0.0), recurrent_dropout=0.2)
    assert module(torch.randn(4, 3, 6))[0].shape == (4, 3, 4)
