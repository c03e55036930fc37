"""`fastlstm.ragged` against loops over every step of every item."""

import pytest
import torch

from fastlstm import functional, reference
from fastlstm.ragged import from_lengths, from_resets


def by_loops(lengths, resets, steps, batch_first):
    """The fields of `Ragged`, from lists; `resets` [T][B] or None."""
    batch, segments = len(lengths), []  # item, first step, length
    for b, length in enumerate(lengths):
        for t in range(length):
            if t == 0 or (resets and resets[t][b]):
                segments.append([b, t, 0])
            segments[-1][2] += 1
    segments.sort(key=lambda segment: -segment[2])
    longest = segments[0][2] if segments else 1
    sizes, rows = [], []
    for t in range(longest):
        sizes.append(0)
        for b, first, length in segments:
            if t < length:
                sizes[-1] += 1
                rows.append(b * steps + first + t if batch_first else (first + t) * batch + b)
    last = [-1] * batch
    for n, (b, first, _) in enumerate(segments):
        if last[b] < 0 or first > segments[last[b]][1]:
            last[b] = n
    sequence = [b for b, _, _ in segments]
    return sizes, rows, sequence, [first == 0 for _, first, _ in segments], last


def assert_is(got, expected):
    for name, tensor, wanted in zip(got._fields, got, expected, strict=True):
        assert tensor.tolist() == wanted, name
        assert tensor.dtype is (torch.bool if name == "is_first" else torch.int64), name
        assert tensor.is_contiguous(), name


LENGTHS = [[3, 5, 0, 5, 1], [0, 0], [4], [2, 2, 2], [0, 7, 0], [], [1, 1]]


@pytest.mark.parametrize("batch_first", [False, True], ids=["steps", "batch"])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_from_lengths(lengths, batch_first):
    for steps in (max(lengths, default=0), 9):
        expected = by_loops(lengths, None, steps, batch_first)
        assert_is(from_lengths(lengths, steps, len(lengths), batch_first), expected)
        for dtype in (torch.int64, torch.int32, torch.uint8):
            tensor = torch.tensor(lengths, dtype=dtype)
            assert_is(from_lengths(tensor, steps, len(lengths), batch_first), expected)


@pytest.mark.parametrize("batch_first", [False, True], ids=["steps", "batch"])
@pytest.mark.parametrize("often", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("with_lengths", [True, False])
@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (7, 3), (12, 5), (0, 2), (3, 0)])
def test_from_resets(steps, batch, with_lengths, often, batch_first):
    for _ in range(5):
        resets = torch.rand(steps, batch) < often
        lengths = torch.randint(0, steps + 1, (batch,)) if with_lengths else None
        given = resets.t().contiguous() if batch_first else resets
        before = given.clone()
        got = from_resets(given, lengths, batch_first)
        known = [steps] * batch if lengths is None else lengths.tolist()
        assert_is(got, by_loops(known, resets.tolist(), steps, batch_first))
        assert torch.equal(given, before)


@pytest.mark.parametrize("batch_first", [False, True], ids=["steps", "batch"])
def test_without_resets_it_is_as_lengths_say(batch_first):
    lengths, never = [3, 0, 6, 3], torch.zeros((4, 6) if batch_first else (6, 4), dtype=torch.bool)
    for one, other in zip(
        from_resets(never, lengths, batch_first),
        from_lengths(lengths, 6, 4, batch_first),
        strict=True,
    ):
        assert torch.equal(one, other)


def test_many_segments_cost_no_more_than_their_rows():
    """As many segments as rows, and one as long as they: no table of the two."""
    steps, batch = 20000, 8
    resets = torch.zeros(steps, batch, dtype=torch.bool)
    resets[:, 1:] = True
    got = from_resets(resets)
    assert got.batch_sizes[0] == 7 * steps + 1
    assert got.rows.sort()[0].equal(torch.arange(steps * batch))


def test_under_another_default_device():
    with torch.device("meta"):
        got = from_resets(torch.ones(3, 2, dtype=torch.bool, device="cpu"), [3, 1])
        lengths = from_lengths([1, 2], 2, 2)
    assert_is(got, by_loops([3, 1], [[1, 1]] * 3, 3, False))
    assert_is(lengths, by_loops([1, 2], None, 2, False))


def one_item(x, h, c, weights, resets):
    """The reference on one item, step by step, its state zero after each reset."""
    output = []
    for x_t, reset in zip(x, resets, strict=True):
        if reset:
            h, c = torch.zeros_like(h), torch.zeros_like(c)
        y, h, c = reference.lstm(x_t[None, None], h, c, weights)
        output.append(y[0, 0])
    return output, h, c


@pytest.mark.parametrize("batch_first", [False, True], ids=["steps", "batch"])
def test_a_layer_with_resets(batch_first):
    """How a caller uses what it gets: states in, states out, items without steps."""
    steps, batch, size, hidden = 9, 5, 3, 4
    lengths = [9, 0, 4, 1, 7]
    weights = [torch.randn(4 * hidden, n) for n in (size, hidden)]
    x, (h_0, c_0) = torch.randn(steps, batch, size), torch.randn(2, 1, batch, hidden)
    resets = torch.rand(steps, batch) < 0.4
    resets[0] = False
    given = (x.transpose(0, 1), resets.t()) if batch_first else (x, resets)
    segments = from_resets(given[1], lengths, batch_first)
    states = [s[:, segments.sequence] * segments.is_first[:, None] for s in (h_0, c_0)]
    y, *final = functional.lstm(
        given[0].reshape(-1, size), *states, weights, segments.batch_sizes, segments.rows
    )
    y = y.view(*given[0].shape[:2], hidden)
    y = y.transpose(0, 1) if batch_first else y
    empty = segments.last < 0
    h_n, c_n = (
        torch.where(empty[:, None], s, end[:, segments.last.clamp(min=0)])
        for s, end in zip((h_0, c_0), final, strict=True)
    )
    for b, length in enumerate(lengths):
        own = h_0[:, b : b + 1], c_0[:, b : b + 1]
        output, h, c = one_item(x[:length, b], *own, weights, resets[:length, b])
        output += [torch.zeros(hidden)] * (steps - length)
        torch.testing.assert_close(y[:, b], torch.stack(output))
        torch.testing.assert_close(h_n[:, b : b + 1], h)
        torch.testing.assert_close(c_n[:, b : b + 1], c)


WRONG_LENGTHS = {
    "negative": ([1, -1, 2], r"lengths must be from 0 to 4.*\[1, -1, 2\]"),
    "beyond": ([1, 5, 2], r"lengths must be from 0 to 4.*\[1, 5, 2\]"),
    "too few": ([1, 2], r"lengths must be 3 integers.*\[2\]"),
    "2d": ([[1, 2, 3]], r"lengths must be 3 integers.*\[1, 3\]"),
    "floats": ([1.0, 2.0, 3.0], "lengths must be 3 integers.*float32"),
    "bools": ([True, False, True], r"lengths must be 3 integers.*bool"),
}


@pytest.mark.parametrize("wrong", WRONG_LENGTHS)
def test_lengths_that_do_not_fit(wrong):
    lengths, words = WRONG_LENGTHS[wrong]
    for given in (lengths, torch.tensor(lengths)):
        with pytest.raises(ValueError, match=words):
            from_lengths(given, 4, 3)
        with pytest.raises(ValueError, match=words):
            from_resets(torch.zeros(4, 3, dtype=torch.bool), given)


@pytest.mark.parametrize("batch_first", [False, True], ids=["steps", "batch"])
@pytest.mark.parametrize("shape", [(4,), (4, 3, 1)])
def test_resets_that_do_not_fit(shape, batch_first):
    form = r"\[B, T\]" if batch_first else r"\[T, B\]"
    with pytest.raises(ValueError, match=f"resets must be bool {form}"):
        from_resets(torch.zeros(shape, dtype=torch.bool), None, batch_first)
    with pytest.raises(ValueError, match=r"got torch\.int64"):
        from_resets(torch.zeros(4, 3, dtype=torch.int64), None, batch_first)
