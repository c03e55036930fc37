"""BPTT on a group of programs for a large H: the product is split both ways.

In `group_backward` each program fetches the dgates of all units, 4 * H * M of them. Here the G
programs are KPARTS x NPARTS: a program fetches those of the NPARTS programs of its part of K, and
multiplies them with its block of weight_hh, which gives part of dh for KPARTS * UNITS units; the
owner of a unit fetches and adds KPARTS such parts. One more exchange a step, KPARTS times less to
fetch.

Why a slot of `ring` is free after 4 steps. Some sequence, the first of the group, has every step. A
program tells its sums of step s + 4 when it has the dgates of step s + 3 of one part of K; their
owners had sums from all parts of K, made from the dgates of step s + 2 of all programs. Each told
those after the barrier of that step, before which its threads had read all sums of step s.
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from fastlstm.backends.triton.kernels import layouts
from fastlstm.backends.triton.kernels.cell_math import (
    cell_backward,
    join_gates,
    split_gates_as,
)
from fastlstm.backends.triton.kernels.exchange import tell
from fastlstm.backends.triton.kernels.layouts import indices
from fastlstm.backends.triton.kernels.product import hold, multiply
from fastlstm.backends.triton.kernels.ring import SLOTS, receive_sums, tell_sums
from fastlstm.backends.triton.kernels.rows import read_saved, rows_and_before


@gluon.jit(do_not_specialize=["T", "B", "G", "NPARTS", "has_dy"])
def split_backward_kernel(
    gates_ptr,  # [N, D, H, 4] activated i, f, g, o
    dgates_ptr,  # [N, D, H, 4] out, of the pre-activations; all ones before
    weight_ptr,  # [D, 4 * H, H] weight_hh, the gates of a unit side by side
    c_ptr,  # [N, D, H] float32
    c_0_ptr,  # [D, B, H] float32
    dy_ptr,  # [N, D, H], if has_dy
    dh_n_ptr,  # [D, B, H]
    dc_n_ptr,  # [D, B, H] float32
    dc_0_ptr,  # [D, B, H] out, float32
    zeros_ptr,  # [4 * H], as dgates: what comes back from a step that is not
    ring_ptr,  # [SLOTS, groups * TILES, KPARTS, M, G * UNITS] float32, zero before
    starts_ptr,  # [T + 1] the first row of each step, if RAGGED
    lengths_ptr,  # [B] of the sequences, the longest first, if RAGGED
    abort_ptr,  # [1] not 0: a wait took too long
    T,
    B,
    H,
    D,
    G,  # KPARTS * NPARTS
    NPARTS,
    has_dy,
    M: gl.constexpr,
    UNITS: gl.constexpr,
    KPARTS: gl.constexpr,
    CHUNK: gl.constexpr,  # of a part of K, 4 * UNITS * NPARTS, for each warp
    CHUNKS: gl.constexpr,
    RESIDENT: gl.constexpr,  # how many chunks of the weights registers hold
    TILES: gl.constexpr,
    RAGGED: gl.constexpr,
    TRIES: gl.constexpr,
    SM90: gl.constexpr,
):
    """BPTT of `group_forward_kernel`; its grid is D * G programs for each TILES * M sequences."""
    BITS: gl.constexpr = dgates_ptr.dtype.element_ty.primitive_bitwidth
    WARPS: gl.constexpr = gl.num_warps()
    COLUMNS: gl.constexpr = KPARTS * UNITS
    RIGHT: gl.constexpr = layouts.operand(1, layouts.split_k(WARPS), BITS, True)
    ARRIVING: gl.constexpr = layouts.arriving(WARPS, CHUNK, BITS)
    TO_ADD: gl.constexpr = layouts.to_add(WARPS, COLUMNS // 4, 4)
    SUMS: gl.constexpr = gl.SliceLayout(0, TO_ADD)
    FROM_PARTS: gl.constexpr = layouts.to_add(WARPS, UNITS, 1, KPARTS)
    UNIT: gl.constexpr = gl.SliceLayout(0, FROM_PARTS)
    GATES: gl.constexpr = layouts.four_gates(WARPS, UNITS)
    PARTS: gl.constexpr = gl.SwizzledSharedLayout(4, 1, 8, order=[2, 1, 0])
    RECEIVED: gl.constexpr = KPARTS * max(1, M * UNITS // (32 * WARPS))

    part = gl.program_id(0) % G
    group = gl.program_id(0) // G
    d = group % D
    first = (group // D) * (M * TILES)
    unit = part * UNITS
    k_first = (part // NPARTS) * (4 * UNITS * NPARTS)
    k_end = gl.minimum(k_first + 4 * UNITS * NPARTS, 4 * H)
    n_first = (part % NPARTS) * COLUMNS

    k = k_first + indices(WARPS, 0, RIGHT) * CHUNK + indices(CHUNK, 1, RIGHT)
    column = n_first + indices(COLUMNS, 2, RIGHT)
    weight = weight_ptr + (d * 4 * H + k) * H + column
    weights = hold(
        *(weight, k, k_end, column < H, H, COLUMNS, CHUNK, CHUNKS, RESIDENT),
    )
    parts = gl.allocate_shared_memory(gl.float32, [2, WARPS, M, COLUMNS], PARTS)

    b_gates = first + gl.arange(0, M, layout=gl.SliceLayout(1, GATES))[:, None]
    gate = unit * 4 + gl.arange(0, 4 * UNITS, layout=gl.SliceLayout(0, GATES))[None, :]
    b_unit = first + gl.arange(0, M, layout=gl.SliceLayout(1, UNIT))[:, None]
    u_unit = unit + gl.arange(0, UNITS, layout=gl.SliceLayout(0, UNIT))[None, :]
    b_left = first + indices(M, 1, ARRIVING)
    k_left = k_first + indices(WARPS, 0, ARRIVING) * CHUNK + indices(CHUNK, 2, ARRIVING)
    # Where this program's sums go in a slot, and where those of its units come from.
    m_sums = gl.arange(0, M, layout=gl.SliceLayout(1, SUMS))[:, None]
    n_sums = n_first + gl.arange(0, COLUMNS, layout=gl.SliceLayout(0, SUMS))[None, :]
    told_sums = ((part // NPARTS) * M + m_sums) * (G * UNITS) + n_sums
    everywhere = m_sums >= 0
    of_part = indices(KPARTS, 0, FROM_PARTS) * M + indices(M, 1, FROM_PARTS)
    received_sums = of_part * (G * UNITS) + unit + indices(UNITS, 2, FROM_PARTS)
    slot_size = (gl.num_programs(0) // G * TILES).to(gl.int64) * (KPARTS * M * UNITS) * G

    steps = T
    if RAGGED:
        steps = gl.load(lengths_ptr + first)
    abort = abort_ptr.to(gl.int64)
    step = 2 * d - 1
    t = (1 - d) * (steps - 1)
    rows = rows_and_before(starts_ptr, t, step, steps > 1, B, RAGGED)
    start, size, start_prev, size_prev = rows
    after = start  # the first row of the step that was done before, and how many it had
    known = size * 0
    tensors = (gates_ptr, c_ptr, c_0_ptr, dy_ptr)
    sizes = (D, d, B, H, has_dy != 0)
    dcs = ()
    xs = ()
    for tile in gl.static_range(TILES):
        b_now = b_unit + tile * M
        here = (b_now < B) & (u_unit < H)
        dcs = dcs + (gl.load(dc_n_ptr + (d * B + b_now) * H + u_unit, mask=here, other=0.0),)
        places = (b_gates + tile * M, b_now, gate, u_unit)
        xs = xs + (read_saved(tensors, places, sizes, start, size, start_prev, size_prev),)

    for s in range(steps):
        # The step that comes next here, and the one that it came from.
        has_next = (s + 1 < steps).to(gl.int32)
        t = t + step * has_next
        rows = rows_and_before(starts_ptr, t, step, s + 2 < steps, B, RAGGED)
        start_next, size_next, start_prev, size_prev = rows
        size_next = size_next * has_next
        dcs_next = ()
        xs_next = ()
        for tile in gl.static_range(TILES):
            b = b_unit + tile * M
            places = (b_gates + tile * M, b, gate, u_unit)
            x = read_saved(tensors, places, sizes, start_next, size_next, start_prev, size_prev)
            xs_next = xs_next + (x,)
            ends = (b >= known) & (b < size) & (u_unit < H)  # here the sequence has its last step
            dh_n = gl.load(dh_n_ptr + (d * B + b) * H + u_unit, mask=ends, other=0.0)

            from_after = dgates_ptr + ((after + b_left + tile * M) * D + d) * 4 * H
            source = gl.where(b_left + tile * M < known, from_after, zeros_ptr)
            sums = multiply(
                *(source, k_left, k_end, weights, abort),
                *(M, COLUMNS, CHUNK, CHUNKS, RESIDENT, TRIES, SM90),
            )
            buffer = parts.index((s * TILES + tile) & 1)
            buffer.store(sums)
            slot = ring_ptr + (s % SLOTS) * slot_size
            slot = slot + (group * TILES + tile).to(gl.int64) * (KPARTS * M * UNITS) * G
            tell_sums(slot + told_sums, gl.sum(buffer.load(TO_ADD), axis=0), s, everywhere)

            values, c, c_prev, dy = xs[tile]
            i, f, g, o = split_gates_as(values, UNIT, M, UNITS)
            of_parts = receive_sums(slot + received_sums, s, abort, RECEIVED, TRIES)
            dh = gl.sum(of_parts, axis=0) + (dy.to(gl.float32) + dh_n.to(gl.float32))
            di, df, dg, do, dc = cell_backward(i, f, g, o, c, c_prev, dh, dcs[tile])

            told_gates = join_gates(di, df, dg, do, M, UNITS).to(dgates_ptr.dtype.element_ty)
            b_now_gates = b_gates + tile * M
            tell(
                dgates_ptr + ((start + b_now_gates) * D + d) * 4 * H + gate,
                gl.convert_layout(told_gates, GATES, assert_trivial=True),
                (b_now_gates < size) & (gate < 4 * H),
                4,
            )
            if RAGGED:  # a sequence that is not there yet, or no more
                dc = gl.where(b < size, dc, dcs[tile])
            dcs_next = dcs_next + (dc,)
        dcs = dcs_next
        xs = xs_next
        after = start
        known = size
        start = start_next
        size = size_next
    for tile in gl.static_range(TILES):
        b_now = b_unit + tile * M
        here = (b_now < B) & (u_unit < H)
        gl.store(dc_0_ptr + (d * B + b_now) * H + u_unit, dcs[tile], mask=here)
