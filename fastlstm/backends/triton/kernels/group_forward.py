"""Forward of a recurrence on a group of programs: the whole sequence in one launch.

A group owns TILES tiles of M sequences of one direction, each of its G programs UNITS units: its
slice of weight_hh stays in registers for all steps (what does not fit, in shared memory), its part
of c too. A step: fetch h_{t-1} of all units from the other programs, straight into the operand of
the product (`exchange`); each warp multiplies its part of K; the parts are added up through shared
memory, the only barrier; the cell; tell h_t. With several tiles the h of one is under way while
another computes. Persistent RNNs (Diamos et al. 2016), with Lamport's sentinel for a barrier.
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from fastlstm.backends.triton.kernels import layouts
from fastlstm.backends.triton.kernels.cell_math import cell_forward, join_gates, split_gates
from fastlstm.backends.triton.kernels.exchange import tell
from fastlstm.backends.triton.kernels.layouts import indices
from fastlstm.backends.triton.kernels.product import hold, multiply
from fastlstm.backends.triton.kernels.rows import rows_of


@gluon.jit(do_not_specialize=["T", "B", "G"])
def group_forward_kernel(
    gates_ptr,  # [N, D, H, 4] in: what x gives; out, if SAVE: activated i, f, g, o
    weight_ptr,  # [D, 4 * H, H] weight_hh, the gates of a unit side by side
    h_0_ptr,  # [D, B, H]
    c_0_ptr,  # [D, B, H] float32
    y_ptr,  # [N, D, H] out; all ones before, the words by which the programs tell h
    c_ptr,  # [N, D, H] out, if SAVE, float32
    h_n_ptr,  # [D, B, H] out
    c_n_ptr,  # [D, B, H] out, float32
    starts_ptr,  # [T + 1] the first row of each step, if RAGGED
    lengths_ptr,  # [B] of the sequences, the longest first, if RAGGED
    abort_ptr,  # [1] not 0: a wait took too long
    T,
    B,
    H,
    D,
    G,
    M: gl.constexpr,
    UNITS: gl.constexpr,
    CHUNK: gl.constexpr,  # of K, for each warp
    CHUNKS: gl.constexpr,
    RESIDENT: gl.constexpr,  # how many chunks of the weights registers hold
    TILES: gl.constexpr,
    SAVE: gl.constexpr,
    RAGGED: gl.constexpr,
    TRIES: gl.constexpr,
    SM90: gl.constexpr,
):
    """All steps of a recurrence. Grid: D * G programs for each TILES * M sequences."""
    BITS: gl.constexpr = y_ptr.dtype.element_ty.primitive_bitwidth
    WARPS: gl.constexpr = gl.num_warps()
    RIGHT: gl.constexpr = layouts.operand(1, layouts.split_k(WARPS), BITS, True)
    ARRIVING: gl.constexpr = layouts.arriving(WARPS, CHUNK, BITS)
    TO_ADD: gl.constexpr = layouts.to_add(WARPS, UNITS, 4)
    GATES: gl.constexpr = gl.SliceLayout(0, TO_ADD)
    PAIRS: gl.constexpr = layouts.pairs(WARPS, M, UNITS)
    WORD: gl.constexpr = 32 // BITS  # elements
    PARTS: gl.constexpr = gl.SwizzledSharedLayout(4, 1, 8, order=[2, 1, 0])

    part = gl.program_id(0) % G
    group = gl.program_id(0) // G
    d = group % D
    first = (group // D) * (M * TILES)
    unit = part * UNITS

    k = indices(WARPS, 0, RIGHT) * CHUNK + indices(CHUNK, 1, RIGHT)
    column = unit * 4 + indices(4 * UNITS, 2, RIGHT)
    weight = weight_ptr + (d * 4 * H + column) * H + k
    weights = hold(
        *(weight, k, H, column < 4 * H, 1, 4 * UNITS, CHUNK, CHUNKS, RESIDENT),
    )
    parts = gl.allocate_shared_memory(gl.float32, [2, WARPS, M, 4 * UNITS], PARTS)

    # Elements of three views of a tile: four gates a thread, one unit, and pairs of units.
    b_gates = first + gl.arange(0, M, layout=gl.SliceLayout(1, GATES))[:, None]
    gate = unit * 4 + gl.arange(0, 4 * UNITS, layout=gl.SliceLayout(0, GATES))[None, :]
    zeros = gl.zeros([M, 4 * UNITS], gl.float32, layout=GATES)
    UNIT: gl.constexpr = split_gates(zeros, M, UNITS)[0].type.layout
    b_unit = first + gl.arange(0, M, layout=gl.SliceLayout(1, UNIT))[:, None]
    u_unit = unit + gl.arange(0, UNITS, layout=gl.SliceLayout(0, UNIT))[None, :]
    b_pair = first + gl.arange(0, M, layout=gl.SliceLayout(1, PAIRS))[:, None]
    u_pair = unit + gl.arange(0, UNITS, layout=gl.SliceLayout(0, PAIRS))[None, :]
    b_left = first + indices(M, 1, ARRIVING)
    k_left = indices(WARPS, 0, ARRIVING) * CHUNK + indices(CHUNK, 2, ARRIVING)

    steps = T
    if RAGGED:
        steps = gl.load(lengths_ptr + first)
    abort = abort_ptr.to(gl.int64)
    step = 1 - 2 * d
    t = d * (steps - 1)
    start, size = rows_of(starts_ptr, t, B, RAGGED)
    before = start
    known = size * 0
    cs = ()
    hs = ()
    xs = ()
    for tile in gl.static_range(TILES):
        at = (d * B + b_unit + tile * M) * H + u_unit
        here = (b_unit + tile * M < B) & (u_unit < H)
        cs = cs + (gl.load(c_0_ptr + at, mask=here, other=0.0),)
        hs = hs + (gl.load(h_0_ptr + at, mask=here, other=0.0).to(gl.float32),)
        row = start + b_gates + tile * M
        xs = xs + (
            gl.load(
                gates_ptr + (row * D + d) * 4 * H + gate,
                mask=(b_gates + tile * M < size) & (gate < 4 * H),
                other=0.0,
            ),
        )

    for s in range(steps):
        more = s + 1 < steps
        t = gl.where(more, t + step, t)
        start_next, size_next = rows_of(starts_ptr, t, B, RAGGED)
        cs_next = ()
        hs_next = ()
        xs_next = ()
        for tile in gl.static_range(TILES):
            row = start_next + b_gates + tile * M
            ahead = more & (b_gates + tile * M < size_next) & (gate < 4 * H)
            x = gl.load(gates_ptr + (row * D + d) * 4 * H + gate, mask=ahead, other=0.0)
            xs_next = xs_next + (x,)

            b = b_left + tile * M
            from_y = y_ptr + ((before + b) * D + d) * H
            from_h_0 = h_0_ptr + (d * B + gl.minimum(b, B - 1)) * H
            source = gl.where(b < known, from_y, from_h_0)
            sums = multiply(
                *(source, k_left, H, weights, abort),
                *(M, 4 * UNITS, CHUNK, CHUNKS, RESIDENT, TRIES, SM90),
            )
            buffer = parts.index((s * TILES + tile) & 1)
            buffer.store(sums)
            gates = gl.sum(buffer.load(TO_ADD), axis=0) + xs[tile].to(gl.float32)
            i, f, g, o = split_gates(gates, M, UNITS)
            i, f, g, o, c, h_t = cell_forward(i, f, g, o, cs[tile])

            exists = (b_pair + tile * M < size) & (u_pair < H)
            told_h = gl.convert_layout(h_t.to(y_ptr.dtype.element_ty), PAIRS)
            tell(y_ptr + ((start + b_pair + tile * M) * D + d) * H + u_pair, told_h, exists, WORD)
            if SAVE:
                kept = join_gates(i, f, g, o, M, UNITS).to(gates_ptr.dtype.element_ty)
                own = (start + b_gates + tile * M) * D + d
                gl.store(
                    gates_ptr + own * 4 * H + gate,
                    gl.convert_layout(kept, GATES),
                    mask=(b_gates + tile * M < size) & (gate < 4 * H),
                )
                cell = ((start + b_unit + tile * M) * D + d) * H + u_unit
                gl.store(c_ptr + cell, c, mask=(b_unit + tile * M < size) & (u_unit < H))
            if RAGGED:  # a sequence that is not there yet, or no more
                c = gl.where(b_unit + tile * M < size, c, cs[tile])
                h_t = gl.where(b_unit + tile * M < size, h_t, hs[tile])
            cs_next = cs_next + (c,)
            hs_next = hs_next + (h_t,)
        cs = cs_next
        hs = hs_next
        xs = xs_next
        before = start
        known = size
        start = start_next
        size = size_next
    for tile in gl.static_range(TILES):
        at = (d * B + b_unit + tile * M) * H + u_unit
        here = (b_unit + tile * M < B) & (u_unit < H)
        gl.store(h_n_ptr + at, hs[tile].to(h_n_ptr.dtype.element_ty), mask=here)
        gl.store(c_n_ptr + at, cs[tile], mask=here)
