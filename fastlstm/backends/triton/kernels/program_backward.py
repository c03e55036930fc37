"""BPTT of a recurrence in one program: as `program_forward`, the other way round."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.ampere import mma_v2

from fastlstm.backends.triton.kernels import layouts
from fastlstm.backends.triton.kernels.cell_math import (
    cell_backward,
    join_gates,
    split_gates_as,
)
from fastlstm.backends.triton.kernels.exchange import as_tf32
from fastlstm.backends.triton.kernels.rows import read_saved, rows_and_before


@gluon.jit(do_not_specialize=["T", "B", "has_dy"])
def program_backward_kernel(
    gates_ptr,  # [N, D, H, 4] activated i, f, g, o
    dgates_ptr,  # [N, D, H, 4] out, of the pre-activations
    weight_ptr,  # [D, 4 * H, H] weight_hh, the gates of a unit side by side
    c_ptr,  # [N, D, H] float32
    c_0_ptr,  # [D, B, H] float32
    dy_ptr,  # [N, D, H], if has_dy
    dh_n_ptr,  # [D, B, H]
    dc_n_ptr,  # [D, B, H] float32
    dc_0_ptr,  # [D, B, H] out, float32
    starts_ptr,  # [T + 1] the first row of each step, if RAGGED
    lengths_ptr,  # [B] of the sequences, the longest first, if RAGGED
    T,
    B,
    H,
    D,
    has_dy,
    M: gl.constexpr,
    UNITS: gl.constexpr,  # a power of two, at least H
    RESIDENT: gl.constexpr,  # the weights are in registers, else in shared memory
    RAGGED: gl.constexpr,
):
    """BPTT of `program_forward_kernel`, on the same grid."""
    BITS: gl.constexpr = dgates_ptr.dtype.element_ty.primitive_bitwidth
    WARPS: gl.constexpr = gl.num_warps()
    PRODUCT: gl.constexpr = layouts.split_n(WARPS)
    LEFT: gl.constexpr = layouts.operand(0, PRODUCT, BITS, False)
    RIGHT: gl.constexpr = layouts.operand(1, PRODUCT, BITS, False)
    GATES: gl.constexpr = layouts.gates_of_product(WARPS, M, UNITS)
    SHARED: gl.constexpr = gl.SwizzledSharedLayout(128 // BITS, 1, 8, order=[1, 0])

    d = gl.program_id(0) % D
    first = (gl.program_id(0) // D) * M
    k = gl.arange(0, UNITS, layout=gl.SliceLayout(1, RIGHT))[:, None]
    column = gl.arange(0, UNITS, layout=gl.SliceLayout(0, RIGHT))[None, :]
    weights = ()
    shared = ()
    for n in gl.static_range(4):
        weight = weight_ptr + (d * 4 * H + k * 4 + n) * H + column
        w = gl.load(weight, mask=(column < H) & (k < H), other=0.0)
        shared = shared + (gl.allocate_shared_memory(w.dtype, [M, UNITS], SHARED),)
        if RESIDENT:
            weights = weights + (w,)
        else:
            weights = weights + (gl.allocate_shared_memory(w.dtype, [UNITS, UNITS], SHARED, w),)

    b = first + gl.arange(0, M, layout=gl.SliceLayout(1, PRODUCT))[:, None]
    unit = gl.arange(0, UNITS, layout=gl.SliceLayout(0, PRODUCT))[None, :]
    b_gates = first + gl.arange(0, M, layout=gl.SliceLayout(1, GATES))[:, None]
    gate = gl.arange(0, 4 * UNITS, layout=gl.SliceLayout(0, GATES))[None, :]
    state = (d * B + b) * H + unit
    dh = gl.load(dh_n_ptr + state, mask=(b < B) & (unit < H), other=0.0).to(gl.float32)
    dc = gl.load(dc_n_ptr + state, mask=(b < B) & (unit < H), other=0.0)

    steps = T
    if RAGGED:
        steps = gl.load(lengths_ptr + first)
    step = 2 * d - 1
    t = (1 - d) * (steps - 1)
    rows = rows_and_before(starts_ptr, t, step, steps > 1, B, RAGGED)
    start, size, start_prev, size_prev = rows
    tensors = (gates_ptr, c_ptr, c_0_ptr, dy_ptr)
    places = (b_gates, b, gate, unit)
    sizes = (D, d, B, H, has_dy != 0)
    x = read_saved(tensors, places, sizes, start, size, start_prev, size_prev)
    for s in range(steps):
        # The step that comes next here, and the one that it came from.
        has_next = (s + 1 < steps).to(gl.int32)
        t = t + step * has_next
        rows = rows_and_before(starts_ptr, t, step, s + 2 < steps, B, RAGGED)
        start_next, size_next, start_prev, size_prev = rows
        size_next = size_next * has_next
        x_next = read_saved(tensors, places, sizes, start_next, size_next, start_prev, size_prev)

        values, c, c_prev, dy = x
        i, f, g, o = split_gates_as(values, PRODUCT, M, UNITS)
        dh_t = dh + dy.to(gl.float32)
        di, df, dg, do, dc_t = cell_backward(i, f, g, o, c, c_prev, dh_t, dc)
        own = join_gates(di, df, dg, do, M, UNITS).to(dgates_ptr.dtype.element_ty)
        gl.store(
            dgates_ptr + ((start + b_gates) * D + d) * 4 * H + gate,
            gl.convert_layout(own, GATES, assert_trivial=True),
            mask=(b_gates < size) & (gate < 4 * H),
        )
        shared[0].store(as_tf32(di.to(dgates_ptr.dtype.element_ty)))
        shared[1].store(as_tf32(df.to(dgates_ptr.dtype.element_ty)))
        shared[2].store(as_tf32(dg.to(dgates_ptr.dtype.element_ty)))
        shared[3].store(as_tf32(do.to(dgates_ptr.dtype.element_ty)))
        sums = ()
        for n in gl.static_range(2):  # two sums: chains of products half as long
            part = gl.zeros([M, UNITS], gl.float32, layout=PRODUCT)
            for gate_n in gl.static_range(2):
                left = shared[2 * n + gate_n].load(LEFT)
                if RESIDENT:
                    part = mma_v2(left, weights[2 * n + gate_n], part)
                else:
                    part = mma_v2(left, weights[2 * n + gate_n].load(RIGHT), part)
            sums = sums + (part,)
        dh_t = sums[0] + sums[1]
        if RAGGED:  # a sequence that is not there yet, or no more
            dc_t = gl.where(b < size, dc_t, dc)
            dh_t = gl.where(b < size, dh_t, dh)
        dc = dc_t
        dh = dh_t
        x = x_next
        start = start_next
        size = size_next
    gl.store(dc_0_ptr + state, dc, mask=(b < B) & (unit < H))
