"""The rest of docs/drop-in.md, and the page itself."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import fastlstm

ROOT = Path(__file__).parent.parent
T, B, I, H = 4, 3, 5, 6


def test_every_row_of_the_page_names_tests_that_exist():
    rows = [
        line
        for line in (ROOT / "docs" / "drop-in.md").read_text().splitlines()
        if line.startswith("|") and not line.startswith("|---") and not line.startswith("| |")
    ]
    assert len(rows) > 25
    for row in rows:
        names = re.findall(r"`(test\w*(?:/\w+)?)`", row.rsplit("|", 2)[1])
        assert names, row
        for name in names:
            path = ROOT / "tests" / name if name.startswith("test_") else ROOT / name
            assert path.is_dir() or path.with_suffix(".py").is_file(), row


@pytest.mark.parametrize("cls", [fastlstm.LSTM, fastlstm.LSTMCell])
def test_skip_init(cls):
    made = nn.utils.skip_init(cls, I, H)
    assert {name: p.shape for name, p in made.named_parameters()} == {
        name: p.shape for name, p in cls(I, H).named_parameters()
    }


def test_swap_tensors():
    ours, x = fastlstm.LSTM(I, H), torch.randn(T, B, I)
    ours(x)
    torch.utils.swap_tensors(ours.weight_hh_l0, nn.Parameter(torch.zeros(4 * H, H)))
    peer = nn.LSTM(I, H)
    peer.load_state_dict(ours.state_dict())
    assert not ours.weight_hh_l0.any()
    torch.testing.assert_close(ours(x), peer(x))
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        before = ours.weight_hh_l0
        ours.double()
        assert ours.weight_hh_l0 is before
        torch.testing.assert_close(ours(x.double())[0], peer.double()(x.double())[0])
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)


@pytest.mark.parametrize("config", [{}, {"num_layers": 2, "bidirectional": True}], ids=str)
def test_autocast_to_float16_on_a_cpu(config):
    ours, x = fastlstm.LSTM(I, H, **config), torch.randn(T, B, I, requires_grad=True)
    expected, _ = ours(x)
    with torch.autocast("cpu", torch.float16):
        output, (h_n, c_n) = ours(x)
    assert {output.dtype, h_n.dtype, c_n.dtype} == {torch.float16}
    torch.testing.assert_close(output.float(), expected, rtol=0.01, atol=0.01)
    (got,) = torch.autograd.grad(output.float().sum(), x)
    torch.testing.assert_close(got, torch.autograd.grad(expected.sum(), x)[0], rtol=0.05, atol=0.02)


def test_vmap_over_states_and_with_a_dropout_mask_for_each():
    ours, x = fastlstm.LSTM(I, H, 2, dropout=0.5), torch.randn(T, B, I)
    xs = x.expand(5, T, B, I)
    drawn = torch.func.vmap(lambda x: ours(x)[0], randomness="different")(xs)
    assert not torch.equal(drawn[0], drawn[1])
    ours.eval()
    h, c = torch.randn(5, 2, B, H), torch.randn(5, 2, B, H)
    got = torch.func.vmap(lambda h, c: ours(x, (h, c))[0])(h, c)
    expected = torch.stack([ours(x, (h[n], c[n]))[0] for n in range(5)])
    torch.testing.assert_close(got, expected)


def test_restored_it_is_quantized_and_as_it_is_left_alone():
    quantize = torch.ao.quantization.quantize_dynamic
    model = nn.Sequential(fastlstm.LSTM(I, H))
    assert type(quantize(model, {nn.LSTM})[0]) is fastlstm.LSTM
    fastlstm.restore(model)
    assert type(quantize(model, {nn.LSTM})[0]).__module__.startswith("torch.ao.nn.quantized")


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_draws_the_same_mask_again(reentrant):
    peer = nn.LSTM(I, H, 2, dropout=0.5)
    ours = fastlstm.LSTM(I, H, 2, dropout=0.5)
    ours.load_state_dict(peer.state_dict())
    gradients = []
    for module in (ours, peer):
        torch.manual_seed(1)
        x = torch.linspace(-1, 1, T * B * I).view(T, B, I).requires_grad_()
        output = torch.utils.checkpoint.checkpoint(
            lambda x, module=module: module(x)[0], x, use_reentrant=reentrant
        )
        output.sum().backward()
        gradients.append({name: p.grad for name, p in module.named_parameters()} | {"x": x.grad})
    torch.testing.assert_close(*gradients)


def test_errors_of_autograd_are_those_of_nn_lstm():
    def twice(module):
        loss = module(torch.ones(T, B, I))[0].sum()
        loss.backward()
        loss.backward()

    def changed_weight(module):
        loss = module(torch.ones(T, B, I))[0].sum()
        with torch.no_grad():
            module.weight_hh_l0.add_(1)
        loss.backward()

    def changed_output(module):
        output = module(torch.ones(T, B, I))[0]
        output.add_(1)
        output.sum().backward()

    words = {twice: "second time", changed_weight: "inplace", changed_output: "inplace"}
    for mistake, said in words.items():
        for module in (fastlstm.LSTM(I, H), nn.LSTM(I, H)):
            with pytest.raises(RuntimeError, match=said):
                mistake(module)


def test_many_lengths_in_a_row_keep_no_memory():
    ours = fastlstm.LSTM(64, 64)
    with torch.no_grad():
        for steps in range(1, 40):
            ours(torch.zeros(steps, 8, 64))
        before = resident()
        for steps in range(1, 400):
            ours(torch.zeros(steps, 8, 64))
            ours(torch.zeros(steps, 8, 64), lengths=[steps] * 8)
    assert resident() - before < 64 << 20


def resident():
    """Bytes of memory that the process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
