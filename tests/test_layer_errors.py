"""`functional.lstm` has no module that checks before it: what doesn't fit is a RuntimeError."""

import pytest
import torch

from fastlstm import functional

H = 7
WEIGHTS = [(28, 5), (28, 7), (28,), (28,)]
STATES = r"h_0 and c_0 must have shapes \[L\*D, B, \.\]"
OUTPUT = r"h_0 must have shape \[1, 2, 7\] as c_0 has, or \[L\*D, B, P\]"
# Shapes of x, h_0, c_0 and the weights, batch_sizes, and what is said.
CASES = {
    "3-directions": ((4, 2, 5), (3, 2, H), (3, 2, H), WEIGHTS * 3, None, STATES),
    "weights-of-1-direction": ((4, 2, 5), (3, 2, H), (3, 2, H), WEIGHTS, None, STATES),
    "no-directions": ((4, 2, 5), (0, 2, H), (0, 2, H), WEIGHTS, None, STATES),
    "directions": ((3, 2, 5), (2, 2, H), (1, 2, H), WEIGHTS, None, STATES),
    "batch": ((3, 2, 5), (1, 3, H), (1, 2, H), WEIGHTS, None, STATES),
    "2d-states": ((4, 2, 5), (2, H), (2, H), WEIGHTS, None, STATES),
    "2d-padded": ((4, 5), (1, 2, H), (1, 2, H), WEIGHTS, None, STATES),
    "3d-packed": ((4, 2, 5), (1, 2, H), (1, 2, H), WEIGHTS, [2, 2], STATES),
    "3d-packed-by-rows": ((4, 2, 5), (1, 2, H), (1, 2, H), WEIGHTS, [2, 2, 2, 2], STATES),
    "other-output": ((4, 2, 5), (1, 2, 6), (1, 2, H), [(28, 5), (28, 6)], None, OUTPUT),
    "no-output": ((4, 2, 5), (1, 2, 0), (1, 2, H), [(28, 5), (28, 0), (0, 7)], None, OUTPUT),
    "empty-weight_hr": ((4, 2, 5), (1, 2, H), (1, 2, H), [*WEIGHTS, (0, 7)], None, "weight_hr"),
    "3-weights-of-2": ((4, 2, 5), (2, 2, H), (2, 2, H), WEIGHTS[:3], None, "weights must be .* 3"),
    "no-batch_sizes": ((4, 5), (1, 2, H), (1, 2, H), WEIGHTS, [], r"must fall .* \[\]"),
    "float": ((4, 5), (1, 2, H), (1, 2, H), WEIGHTS, [2.0, 2.0], "integers, got torch.float32"),
    "2d-batch_sizes": ((4, 5), (1, 2, H), (1, 2, H), WEIGHTS, [[2, 2]], "one row of integers"),
}


@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no-grad"])
@pytest.mark.parametrize("backend", ["auto", "cpu"])
@pytest.mark.parametrize(
    ("x", "h_0", "c_0", "weights", "sizes", "words"), CASES.values(), ids=CASES.keys()
)
def test_what_does_not_fit(x, h_0, c_0, weights, sizes, words, backend, grad):
    tensors = [torch.zeros(shape) for shape in (x, h_0, c_0)]
    weights = [torch.zeros(shape, requires_grad=grad) for shape in weights]
    if sizes is not None:
        sizes = torch.tensor(sizes, dtype=None if sizes else torch.int64)
    with pytest.raises(RuntimeError, match=words):
        functional.lstm(*tensors, weights, sizes, backend=backend)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64], ids=str)
def test_batch_sizes_of_any_integers_under_another_default_device(dtype):
    rows = 300  # more than fit in uint8
    weights = [torch.randn(shape) for shape in WEIGHTS]
    x, state, sizes = torch.randn(rows, 5), torch.zeros(1, 100, H), torch.tensor([100, 100, 100])
    expected = functional.lstm(x, state, state, weights, sizes, backend="reference")
    with torch.device("meta"):
        got = functional.lstm(x, state, state, weights, sizes.to(dtype), backend="cpu")
    torch.testing.assert_close(got, expected)
