"""The chunked cross entropy: as accurate as torch's, in less memory, and taken where it pays."""

import pytest
import torch
from accuracy import assert_as_accurate
from torch.nn import functional as F

from fastlstm.rnnlm import chunked_loss, decoder
from fastlstm.rnnlm.chunked_loss import chunked_cross_entropy
from fastlstm.rnnlm.decoder import LinearDecoder


def results(loss, rows, weight, bias, targets):
    """Loss and gradients, of three times the loss."""
    leaves = [part.detach().clone().requires_grad_() for part in (rows, weight, bias)]
    value = loss(*leaves, targets)
    (3 * value).backward()
    names = ("loss", "rows", "weight", "bias")
    return dict(zip(names, [value.detach(), *(leaf.grad for leaf in leaves)], strict=True))


def plain(rows, weight, bias, targets):
    return F.cross_entropy(F.linear(rows, weight, bias), targets)


def make_case(rows, size, hidden):
    torch.manual_seed(rows)
    weight = torch.randn(size, hidden)
    return torch.randn(rows, hidden), weight, torch.randn(size), torch.randint(size, (rows,))


@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 11, 3), (331, 97, 13), (100, 1009, 31)])
@pytest.mark.parametrize("chunk", [1, 1000, 2**21])
def test_as_accurate_as_torch(monkeypatch, shape, chunk):
    monkeypatch.setattr(chunked_loss, "CHUNK", chunk)
    monkeypatch.setattr(chunked_loss, "ROWS", 1)
    rows, weight, bias, targets = make_case(*shape)
    oracle = results(plain, rows.double(), weight.double(), bias.double(), targets)
    got = results(chunked_cross_entropy, rows, weight, bias, targets)
    peer = results(plain, rows, weight, bias, targets)
    for name in oracle:
        assert_as_accurate(name, got[name], oracle[name], peer[name])


def test_huge_logits_do_not_overflow():
    rows, weight, bias, targets = make_case(5, 7, 3)
    got = results(chunked_cross_entropy, 1e4 * rows, weight, bias, targets)
    expected = results(plain, 1e4 * rows, weight, bias, targets)
    torch.testing.assert_close(got, expected)


def test_under_autocast_as_torch():
    rows, weight, bias, targets = make_case(64, 97, 32)
    oracle = results(plain, rows, weight, bias, targets)
    with torch.autocast("cpu", torch.bfloat16):
        got = results(chunked_cross_entropy, rows, weight, bias, targets)
        peer = results(plain, rows, weight, bias, targets)
    for name, right in oracle.items():
        assert got[name].dtype is torch.float32
        error, allowed = (got[name] - right).norm(), (peer[name] - right).norm()
        assert error <= 2 * allowed + 1e-6 * right.norm(), name


def largest_tensor(call):
    """Elements of the largest tensor that an operator makes in a call."""
    sizes = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            sizes.extend(t.numel() for t in [result] if isinstance(t, torch.Tensor))
            return result

    with Watch():
        call()
    return max(sizes)


def test_holds_no_logits_of_all_rows():
    layer = LinearDecoder(8, 5000)
    rows, targets = torch.randn(2000, 8, requires_grad=True), torch.randint(5000, (2000,))
    most = largest_tensor(lambda: layer.loss(rows, targets).backward())
    assert most <= chunked_loss.CHUNK < 2000 * 5000


def test_size_decides(monkeypatch):
    taken = []
    monkeypatch.setattr(
        decoder, "chunked_cross_entropy", lambda rows, *_: taken.append(len(rows)) or rows.sum()
    )
    layer = LinearDecoder(8, 1000)
    for rows in (100, 4000):
        layer.loss(torch.randn(rows, 8), torch.zeros(rows, dtype=torch.int64))
    assert taken == [4000]
