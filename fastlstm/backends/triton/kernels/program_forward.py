"""Forward of a recurrence in one program: for layers whose weight_hh fits it whole.

A program owns a tile of M sequences of one direction and all units, weight_hh for all steps. Only h
goes from warp to warp, through shared memory; nothing from program to program. The threads hold
what the product gives them, so x comes in and results go out in that order: no other exchange.
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.ampere import mma_v2

from fastlstm.backends.triton.kernels import layouts
from fastlstm.backends.triton.kernels.cell_math import cell_forward, join_gates, split_gates_as
from fastlstm.backends.triton.kernels.exchange import as_tf32
from fastlstm.backends.triton.kernels.rows import rows_of


@gluon.jit(do_not_specialize=["T", "B"])
def program_forward_kernel(
    gates_ptr,  # [N, D, H, 4] in: what x gives; out, if SAVE: activated i, f, g, o
    weight_ptr,  # [D, 4 * H, H] weight_hh, the gates of a unit side by side
    h_0_ptr,  # [D, B, H]
    c_0_ptr,  # [D, B, H] float32
    y_ptr,  # [N, D, H] out
    c_ptr,  # [N, D, H] out, if SAVE, float32
    h_n_ptr,  # [D, B, H] out
    c_n_ptr,  # [D, B, H] out, float32
    starts_ptr,  # [T + 1] the first row of each step, if RAGGED
    lengths_ptr,  # [B] of the sequences, the longest first, if RAGGED
    T,
    B,
    H,
    D,
    M: gl.constexpr,
    UNITS: gl.constexpr,  # a power of two, at least H
    SAVE: gl.constexpr,
    RAGGED: gl.constexpr,
):
    """All steps of a recurrence. Grid: D programs for each M sequences."""
    BITS: gl.constexpr = y_ptr.dtype.element_ty.primitive_bitwidth
    WARPS: gl.constexpr = gl.num_warps()
    PRODUCT: gl.constexpr = layouts.split_n(WARPS)
    LEFT: gl.constexpr = layouts.operand(0, PRODUCT, BITS, False)
    RIGHT: gl.constexpr = layouts.operand(1, PRODUCT, BITS, False)
    GATES: gl.constexpr = layouts.gates_of_product(WARPS, M, UNITS)
    H_SHARED: gl.constexpr = gl.SwizzledSharedLayout(128 // BITS, 1, 8, order=[1, 0])

    d = gl.program_id(0) % D
    first = (gl.program_id(0) // D) * M
    k = gl.arange(0, UNITS, layout=gl.SliceLayout(1, RIGHT))[:, None]
    column = gl.arange(0, UNITS, layout=gl.SliceLayout(0, RIGHT))[None, :]
    weights = ()
    for n in gl.static_range(4):
        weight = weight_ptr + (d * 4 * H + column * 4 + n) * H + k
        weights = weights + (gl.load(weight, mask=(column < H) & (k < H), other=0.0),)

    b = first + gl.arange(0, M, layout=gl.SliceLayout(1, PRODUCT))[:, None]
    unit = gl.arange(0, UNITS, layout=gl.SliceLayout(0, PRODUCT))[None, :]
    b_gates = first + gl.arange(0, M, layout=gl.SliceLayout(1, GATES))[:, None]
    gate = gl.arange(0, 4 * UNITS, layout=gl.SliceLayout(0, GATES))[None, :]
    state = (d * B + b) * H + unit
    h_0 = gl.load(h_0_ptr + state, mask=(b < B) & (unit < H), other=0.0)
    c = gl.load(c_0_ptr + state, mask=(b < B) & (unit < H), other=0.0)
    shared_h = gl.allocate_shared_memory(h_0.dtype, [M, UNITS], H_SHARED)
    shared_h.store(as_tf32(h_0))
    h = h_0.to(gl.float32)

    steps = T
    if RAGGED:
        steps = gl.load(lengths_ptr + first)
    step = 1 - 2 * d
    t = d * (steps - 1)
    start, size = rows_of(starts_ptr, t, B, RAGGED)
    inside = (b_gates < size) & (gate < 4 * H)
    x = gl.load(gates_ptr + ((start + b_gates) * D + d) * 4 * H + gate, mask=inside, other=0.0)
    for s in range(steps):
        more = s + 1 < steps
        t = gl.where(more, t + step, t)
        start_next, size_next = rows_of(starts_ptr, t, B, RAGGED)
        ahead = more & (b_gates < size_next) & (gate < 4 * H)
        row = (start_next + b_gates) * D + d
        x_next = gl.load(gates_ptr + row * 4 * H + gate, mask=ahead, other=0.0)

        of_x = split_gates_as(x, PRODUCT, M, UNITS)
        left = shared_h.load(LEFT)
        sums = ()
        for n in gl.static_range(4):
            sums = sums + (mma_v2(left, weights[n], of_x[n]),)
        i, f, g, o, c_t, h_t = cell_forward(sums[0], sums[1], sums[2], sums[3], c)
        y = h_t.to(y_ptr.dtype.element_ty)
        if RAGGED:  # a sequence that is not there yet, or no more
            c_t = gl.where(b < size, c_t, c)
            h_t = gl.where(b < size, h_t, h)
        c = c_t
        h = h_t
        shared_h.store(as_tf32(h.to(y_ptr.dtype.element_ty)))
        here = (b < size) & (unit < H)
        own = ((start + b) * D + d) * H + unit
        gl.store(y_ptr + own, y, mask=here)
        if SAVE:
            kept = join_gates(i, f, g, o, M, UNITS).to(gates_ptr.dtype.element_ty)
            gl.store(
                gates_ptr + ((start + b_gates) * D + d) * 4 * H + gate,
                gl.convert_layout(kept, GATES, assert_trivial=True),
                mask=(b_gates < size) & (gate < 4 * H),
            )
            gl.store(c_ptr + own, c, mask=here)
        x = x_next
        start = start_next
        size = size_next
    gl.store(h_n_ptr + state, h.to(h_n_ptr.dtype.element_ty), mask=(b < B) & (unit < H))
    gl.store(c_n_ptr + state, c, mask=(b < B) & (unit < H))
