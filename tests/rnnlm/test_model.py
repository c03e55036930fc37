"""The model: tied weights, every kind of dropout, adaptive softmax, resets, how weights start."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from fastlstm.rnnlm.config import Config
from fastlstm.rnnlm.evaluation import token_losses
from fastlstm.rnnlm.gradients import compute_gradients
from fastlstm.rnnlm.levels import ByteVocabulary, WordVocabulary
from fastlstm.rnnlm.model import LockedDropout, make_model, own_tensors, set_reset_token

SMALL = Config(hidden=6, layers=2, batch=4, window=10)
CPU = torch.device("cpu")


def gradients(model, seed=0):
    """Of a window of random tokens."""
    torch.manual_seed(seed)
    size = model.decoder.out_features
    inputs, targets = torch.randint(size, (10, 4)), torch.randint(size, (40,))
    loss, state = compute_gradients(model, inputs, targets, model.initial_state(4))
    return inputs, targets, loss, state


def test_without_an_embedding_a_token_is_a_column_of_weights():
    """char-rnn's 240,321 weights of 2 x 128 on tiny-shakespeare's 65 characters."""
    config = replace(SMALL, embedding=0)
    model, embedded = make_model(9, config, CPU), make_model(9, replace(config, embedding=9), CPU)
    with torch.no_grad():
        embedded.rnn.load_state_dict(model.rnn.state_dict())
        embedded.decoder.load_state_dict(model.decoder.state_dict())
        embedded.embedding.weight.copy_(torch.eye(9))
    assert "embedding.weight" not in own_tensors(model)
    assert gradients(model)[2] == gradients(embedded)[2]
    for ours, theirs in zip(model.rnn.parameters(), embedded.rnn.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)
    assert make_model(65, replace(config, hidden=128), CPU).parameter_count == 240_321


def test_tied_gradient_is_the_sum_of_both_uses():
    tied = make_model(9, replace(SMALL, tied=True), CPU)
    loose = make_model(9, SMALL, CPU)
    loose.load_state_dict(tied.state_dict())
    assert tied.parameter_count == loose.parameter_count - 9 * 6
    for model in (tied, loose):
        gradients(model)
    expected = loose.embedding.weight.grad + loose.decoder.weight.grad
    torch.testing.assert_close(tied.embedding.weight.grad, expected)
    assert tied.embedding.weight.abs().max() <= 0.1
    assert "decoder.weight" not in own_tensors(tied)


def test_tied_to_a_smaller_embedding_has_a_smaller_last_layer():
    model = make_model(9, replace(SMALL, tied=True, embedding=4, layers=3), CPU)
    assert model.rnn.hidden_size == [6, 6, 4]
    _, _, _, state = gradients(model)
    assert [tuple(part.shape) for part in state] == 2 * [(1, 4, 6), (1, 4, 6), (1, 4, 4)]
    losses = token_losses(model, torch.randint(9, (5000,)), 0)
    assert losses.shape == (5000,)


def test_locked_dropout_has_one_mask_for_all_steps():
    dropped = LockedDropout(0.5)(torch.ones(50, 8, 16))
    assert torch.equal(dropped, dropped[:1].expand_as(dropped))
    assert set(dropped.unique().tolist()) == {0.0, 2.0}


def test_dropout_of_tokens_drops_them_wherever_they_stand():
    model = make_model(50, replace(SMALL, dropout_embedding=0.5), CPU)
    seen = []
    model.dropout_input.register_forward_hook(lambda _, args, __: seen.append(args[0]))
    tokens = torch.randint(50, (10, 4))
    model(tokens, model.initial_state(4))
    ratio = seen[0] / model.embedding(tokens)
    ratio = ratio.detach().round(decimals=4)
    rates = {int(t): ratio[tokens == t].unique().tolist() for t in tokens.unique()}
    assert all(values in ([0.0], [2.0], [-0.0]) for values in rates.values())
    assert len({tuple(values) for values in rates.values()}) == 2


@pytest.mark.parametrize("name", ["recurrent_dropout", "zoneout", "weight_drop"])
def test_regularization_reaches_the_layer_and_ends_in_eval_mode(name):
    model, plain = (make_model(9, c, CPU) for c in (replace(SMALL, **{name: 0.4}), SMALL))
    assert getattr(model.rnn, name) == 0.4
    assert gradients(model)[2] != gradients(plain)[2]
    if name != "zoneout":  # whose expectation is taken
        model.eval()
        assert gradients(model)[2] == gradients(plain)[2]


@pytest.mark.parametrize(
    "options",
    [
        {"cell": "gru", "weight_drop": 0.1},
        {"cell": "rnn", "zoneout": 0.1},
        {"implementation": "torch", "recurrent_dropout": 0.1},
        {"implementation": "torch", "locked_dropout": True},
        {"implementation": "torch", "tied": True, "embedding": 3},
        {"cell": "gru", "reset_at": "x"},
    ],
    ids=str,
)
def test_what_others_cannot_have_is_said(options):
    whose = "--implementation torch" if "implementation" in options else "--cell"
    with pytest.raises(ValueError, match=f"{whose}.* has no --"):
        replace(SMALL, **options)


def test_adaptive_softmax_is_a_distribution_and_its_loss_is_of_it():
    model = make_model(100, replace(SMALL, hidden=32, softmax="adaptive"), CPU)
    inputs, targets, loss, _ = gradients(model)
    logits, _ = model(inputs, model.initial_state(4))
    torch.testing.assert_close(logits.exp().sum(-1), torch.ones(10, 4))
    torch.testing.assert_close(F.cross_entropy(logits.flatten(0, 1), targets), loss)
    assert model.parameter_count < make_model(100, replace(SMALL, hidden=32), CPU).parameter_count


def test_init_ranges():
    model = make_model(30, replace(SMALL, init_range=0.08, forget_bias=1.0), CPU)
    for name, weight in model.named_parameters():
        largest = float(weight.detach().abs().max())
        assert largest == 1.0 if name.startswith("rnn.bias_ih") else largest <= 0.08, name
    model = make_model(30, replace(SMALL, init_embedding=0.05), CPU)
    assert model.decoder.weight.abs().max() <= 0.05
    assert not model.decoder.bias.any()


def test_reset_makes_documents_independent():
    """The losses of a document are those of the document read alone."""
    config = replace(SMALL, reset_at="\\n")
    model = make_model(256, config, CPU)
    set_reset_token(model, ByteVocabulary())
    start = ord("\n")
    first, second = torch.tensor(list(b"abcde\n")), torch.tensor(list(b"fghij\n"))
    both = token_losses(model, torch.cat([first, second]), start)
    alone = token_losses(model, second, start)
    torch.testing.assert_close(both[6:], alone)
    free = make_model(256, SMALL, CPU)
    free.load_state_dict(own_tensors(model), strict=False)
    carried = token_losses(free, torch.cat([first, second]), start)
    assert not torch.allclose(carried[6:], alone)


@pytest.mark.parametrize(
    ("token", "vocabulary", "number"),
    [
        ("<eos>", WordVocabulary(["a"]), 1),
        ("\\n", ByteVocabulary(), 10),
        ("|", ByteVocabulary(), 124),
    ],
)
def test_reset_token(token, vocabulary, number):
    model = make_model(len(vocabulary), replace(SMALL, reset_at=token), CPU)
    set_reset_token(model, vocabulary)
    assert int(model.reset_token) == number


def test_reset_token_that_is_not_one():
    model = make_model(256, replace(SMALL, reset_at="ab"), CPU)
    with pytest.raises(ValueError, match="--reset-at must be one byte"):
        set_reset_token(model, ByteVocabulary())
    with pytest.raises(ValueError, match="--reset-at 'ab' is not in the run's vocabulary"):
        set_reset_token(model, WordVocabulary(["a"]))


def test_bf16_is_near_float32_and_keeps_float32():
    config = replace(SMALL, hidden=32)
    wide, narrow = (make_model(40, c, CPU) for c in (config, replace(config, precision="bf16")))
    expected, got = gradients(wide)[2:], gradients(narrow)[2:]
    assert got[0].dtype is got[1][0].dtype is torch.float32
    assert float(got[0]) == pytest.approx(float(expected[0]), rel=5e-3)
    assert float(got[0]) != float(expected[0])
    for name, weight in narrow.named_parameters():
        right = dict(wide.named_parameters())[name].grad
        assert weight.grad.dtype is torch.float32
        assert (weight.grad - right).norm() < 0.05 * right.norm(), name


def test_penalties_are_those_of_awd_lstm():
    options = {"activation_penalty": 2.0, "slowness_penalty": 1.0, "locked_dropout": True}
    model = make_model(9, replace(SMALL, dropout_output=0.5, **options), CPU)
    seen = []
    model.dropout_output.register_forward_hook(lambda _, args, out: seen.extend([args[0], out]))
    inputs, targets = torch.randint(9, (10, 4)), torch.randint(9, (40,))
    _, penalty, _ = model.loss(inputs, targets, model.initial_state(4))
    y, dropped = seen
    expected = 2 * dropped.pow(2).mean() + (y[1:] - y[:-1]).pow(2).mean()
    torch.testing.assert_close(penalty, expected)


def test_run_with_resets_is_evaluated_and_sampled_with_them(command, tmp_path):
    """The token is saved with the weights: a line is as likely whatever came before it."""
    lines = ["ab ab ab\n", "cd cd cd\n"] * 200
    (tmp_path / "lines.txt").write_text("".join(lines))
    run, size = tmp_path / "run", ["--hidden", 12, "--batch", 4, "--window", 10, "--threads", 1]
    options = ["--level", "char", "--steps", 60, "--reset-at", "\\n", "--out", run]
    assert command("train", tmp_path / "lines.txt", *size, *options)[0] == 0
    assert command("sample", run, "--length", 20)[0] == 0

    def cost(text):
        (tmp_path / "text.txt").write_text(text)
        code, out, _ = command("eval", run, tmp_path / "text.txt")
        assert code == 0
        return float(out.splitlines()[1].split()[0]) * len(text)

    apart = cost(lines[0]) + cost(lines[1])
    assert cost(lines[1] + lines[0]) == pytest.approx(apart, abs=0.01)
