"""The product of a group's step: weights that stay, times what the other programs tell."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.ampere import mma_v2

from fastlstm.backends.triton.kernels import layouts
from fastlstm.backends.triton.kernels.exchange import as_tf32, receive, request


@gluon.jit
def hold(
    pointers,
    k,
    k_end,
    exists,
    stride,
    COLUMNS: gl.constexpr,
    CHUNK: gl.constexpr,
    CHUNKS: gl.constexpr,
    RESIDENT: gl.constexpr,
):
    """A program's weights for all steps: a right operand of each chunk of K, zero past `k_end`.

    `pointers` are of the first chunk, `stride` is from one k to the next. RESIDENT chunks are in
    registers, the others in shared memory.
    """
    BITS: gl.constexpr = pointers.dtype.element_ty.primitive_bitwidth
    WARPS: gl.constexpr = gl.num_warps()
    SHARED: gl.constexpr = gl.SwizzledSharedLayout(128 // BITS, 1, 8, order=[1, 2, 0])
    weights = ()
    for n in gl.static_range(CHUNKS):
        inside = (k + n * WARPS * CHUNK < k_end) & exists
        w = gl.load(pointers + n * WARPS * CHUNK * stride, mask=inside, other=0.0)
        if n < RESIDENT:
            weights = weights + (w,)
        else:
            shared = gl.allocate_shared_memory(w.dtype, [WARPS, CHUNK, COLUMNS], SHARED, w)
            weights = weights + (shared,)
    return weights


@gluon.jit
def multiply(
    source,
    k,
    k_end,
    weights,
    abort,
    M: gl.constexpr,
    COLUMNS: gl.constexpr,
    CHUNK: gl.constexpr,
    CHUNKS: gl.constexpr,
    RESIDENT: gl.constexpr,
    TRIES: gl.constexpr,
    SM90: gl.constexpr,
):
    """``[W, M, COLUMNS]``: the part of each warp of what is told at `source`, times the weights.

    All chunks are asked for before the first is waited for. Past `k_end`, where weights are zero,
    anything that arrives will do: what is told of k = 0.
    """
    BITS: gl.constexpr = source.dtype.element_ty.primitive_bitwidth
    WARPS: gl.constexpr = gl.num_warps()
    COUNT: gl.constexpr = M * CHUNK // 32
    PRODUCT: gl.constexpr = layouts.split_k(WARPS)
    LEFT: gl.constexpr = layouts.operand(0, PRODUCT, BITS, True)
    RIGHT: gl.constexpr = layouts.operand(1, PRODUCT, BITS, True)
    early = ()
    for n in gl.static_range(CHUNKS):
        k_now = k + n * WARPS * CHUNK
        early = early + (request(source + gl.where(k_now < k_end, k_now, 0), COUNT),)
    sums = gl.zeros([WARPS, M, COLUMNS], gl.float32, layout=PRODUCT)
    for n in gl.static_range(CHUNKS):
        k_now = k + n * WARPS * CHUNK
        told = source + gl.where(k_now < k_end, k_now, 0)
        arrived = as_tf32(receive(early[n], told, abort, COUNT, TRIES, SM90))
        left = gl.convert_layout(arrived, LEFT)
        if n < RESIDENT:
            sums = mma_v2(left, weights[n], sums)
        else:
            sums = mma_v2(left, weights[n].load(RIGHT), sums)
    return sums
