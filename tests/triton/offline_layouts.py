"""What the exchange between programs takes for granted of layouts, as the compiler sees them."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from fastlstm.backends.triton.kernels import layouts


@gluon.constexpr_function
def begins_with(layout, axis, count):
    """Whether a thread's first `count` registers are neighbours along an axis."""
    bases = layout.reg_bases[: count.bit_length() - 1]
    return [base[axis] for base in bases] == [1 << n for n in range(len(bases))]


@gluon.constexpr_function
def once(layout, other, wrong):
    """Whether `other` is the layout without the registers that repeat an element."""
    registers = [base for base in layout.reg_bases if any(base) or wrong]
    lanes_and_warps = layout.lane_bases == other.lane_bases, layout.warp_bases == other.warp_bases
    return registers == other.reg_bases and all(lanes_and_warps)


@gluon.jit
def of_chunk(BITS: gl.constexpr, CHUNK: gl.constexpr, WRONG: gl.constexpr):
    """What a warp gets of h or dgates."""
    OPERAND: gl.constexpr = layouts.operand(0, layouts.split_k(8), BITS, True)
    LEFT: gl.constexpr = gl.to_linear_layout(OPERAND, [8, 16, CHUNK])
    gl.static_assert(begins_with(LEFT, 2, 128 // BITS))  # 16 bytes of K: one load of `exchange`
    gl.static_assert(once(LEFT, layouts.arriving(8, CHUNK, BITS), WRONG))


@gluon.jit
def of_units(UNITS: gl.constexpr):
    """What a program tells."""
    GATES: gl.constexpr = gl.to_linear_layout(layouts.four_gates(8, UNITS), [16, 4 * UNITS])
    gl.static_assert(begins_with(GATES, 1, 4))  # the gates of a unit: one store of `tell`
    PAIRS: gl.constexpr = gl.to_linear_layout(layouts.pairs(8, 16, UNITS), [16, UNITS])
    gl.static_assert(begins_with(PAIRS, 1, 2))  # two units: one store of `tell`
    SUMS: gl.constexpr = gl.to_linear_layout(layouts.to_add(8, UNITS, 4), [8, 16, 4 * UNITS])
    gl.static_assert(begins_with(SUMS, 2, 4))  # four sums: one store of `tell_sums`


@gluon.jit
def layouts_kernel(x_ptr, BITS: gl.constexpr, WRONG: gl.constexpr):
    """Compiles only if all is as it has to be, and not if `WRONG`."""
    for n in gl.static_range(5):
        of_chunk(BITS, (512 // BITS) << n, WRONG)
    for n in gl.static_range(3, 5):
        of_units(1 << n)
    gl.store(x_ptr, 0)
