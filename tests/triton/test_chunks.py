"""K in several chunks a warp, in registers and in shared memory, as plans for a large H have it.

Chunks are as small as a load of 16 bytes allows, so that a small H has several.
"""

import pytest
from accuracy import assert_case

from fastlstm.backends.triton import plan
from fastlstm.backends.triton.plan import Limit
from fastlstm.verify import Case

FORWARD, BACKWARD = "group_forward_kernel", "group_backward_kernel"
SPLIT_BACKWARD = "split_backward_kernel"


def kind(dtype, tiles, k_parts, resident):
    smallest = 16 if dtype == "float32" else 32
    return Limit(16, tiles, 1 << 20, k_parts, smallest, resident)


def run(launches, case, tiles, k_parts, resident):
    forward, backward = (kind(case.dtype, tiles, parts, resident) for parts in (1, k_parts))
    launches.kind(forward, backward)
    assert_case(case, "triton", 5.0 if case.dtype == "float32" else 2.0)
    bits = 32 if case.dtype == "float32" else 16
    H = -(-case.H // 16) * 16
    return [
        plan.cut(H, case.B, 1, bits, limit, is_backward)
        for limit, is_backward in ((forward, False), (backward, True))
    ]


@pytest.mark.parametrize("resident", [0, 1, 8])
@pytest.mark.parametrize("k_parts", [1, 4])
@pytest.mark.parametrize(
    ("case", "tiles"),
    [(Case(3, 3, 4, 140), 1), (Case(3, 18, 4, 144, ragged=True), 1), (Case(3, 18, 4, 130), 2)],
    ids=lambda value: str(value).replace(" ", ""),
)
def test_float32(launches, poisoned, case, tiles, k_parts, resident):
    """The second case has a group of sequences of one step only."""
    for how in run(launches, case, tiles, k_parts, resident):
        assert how.chunks >= 2
        assert how.resident == min(resident, how.chunks)
    assert {name for name, _, _ in launches} == {
        FORWARD,
        BACKWARD if k_parts == 1 else SPLIT_BACKWARD,
    }


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("k_parts", [1, 4])
@pytest.mark.parametrize("resident", [1, 8])
def test_16_bits(launches, poisoned, dtype, k_parts, resident):
    for how in run(launches, Case(3, 3, 4, 262, dtype=dtype), 1, k_parts, resident):
        assert how.chunks >= 2


EARLY = "(request(source + gl.where(k_now < k_end, k_now, 0), COUNT),)"
LEFT_OPERAND = "mma_v2(left, weights[n], "
# What is told and multiplied is one function's in all kernels: which kernel is run, then the fault.
FAULTS = {
    "h of another chunk, asked for early": (
        FORWARD,
        ("multiply", EARLY, EARLY.replace("k_now", "k")),
    ),
    "weights of another chunk": (FORWARD, ("multiply", LEFT_OPERAND, "mma_v2(left, weights[0], ")),
    "dgates of another chunk, asked for early": (
        BACKWARD,
        ("multiply", EARLY, "(request(source + k, COUNT),)"),
    ),
    "weights of another chunk in backward": (
        BACKWARD,
        ("multiply", LEFT_OPERAND, "mma_v2(left, weights[0], "),
    ),
    "weights of another chunk of a part of K": (
        SPLIT_BACKWARD,
        ("multiply", LEFT_OPERAND, "mma_v2(left, weights[0], "),
    ),
    "weights past a part of K": (
        SPLIT_BACKWARD,
        (SPLIT_BACKWARD, "*(weight, k, k_end, column < H,", "*(weight, k, 4 * H, column < H,"),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_line_is_seen(launches, fault):
    kernel, (function, right, wrong) = FAULTS[fault]
    launches.faults = {kernel: {function: [(right, wrong)]}}
    with pytest.raises((AssertionError, IndexError, TimeoutError)):
        run(launches, Case(3, 3, 4, 140), 1, 4 if kernel == SPLIT_BACKWARD else 1, 8)


@pytest.mark.parametrize("kernel", [FORWARD, SPLIT_BACKWARD])
def test_weights_in_shared_memory_of_another_chunk_are_seen(launches, kernel):
    fault = ("weights[n].load(RIGHT)", "weights[-1].load(RIGHT)")
    launches.faults = {kernel: {"multiply": [fault]}}
    with pytest.raises(AssertionError, match="error"):
        run(launches, Case(3, 3, 4, 270), 1, 4 if kernel == SPLIT_BACKWARD else 1, 1)
