"""What the exchange between programs takes for granted of layouts, as the compiler sees them."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from fastlstm.backends.triton.kernels import layouts


@gluon.constexpr_function
def begins_with(layout, axis, count):
    """Whether a thread's first `count` registers are neighbours along an axis."""
    bases = layout.reg_bases[: count.bit_length() - 1]
    return [base[axis] for base in bases] == [1 << n for n in range(len(bases))]


@gluon.jit
def layouts_kernel(x_ptr, BITS: gl.constexpr, WRONG: gl.constexpr):
    """Compiles only if all is as it has to be, and not if `WRONG`."""
    PRODUCT: gl.constexpr = layouts.split_k(8)
    LEFT: gl.constexpr = gl.to_linear_layout(layouts.operand(0, PRODUCT, BITS, True), [8, 16, 64])
    gl.static_assert(begins_with(LEFT, 2, 128 // BITS))  # 16 bytes of K: one load of `exchange`
    GATES: gl.constexpr = gl.to_linear_layout(layouts.four_gates(8, 16), [16, 64])
    gl.static_assert(begins_with(GATES, 1, 4))  # the gates of a unit: one store of `tell_four`
    PAIRS: gl.constexpr = gl.to_linear_layout(layouts.pairs(8, 16, 16), [16, 16])
    gl.static_assert(begins_with(PAIRS, 1, 2))  # two units: one store of `tell_pair`
    SUMS: gl.constexpr = gl.to_linear_layout(layouts.to_add(8, 16, 4), [8, 16, 64])
    gl.static_assert(begins_with(SUMS, 2, 4))  # four sums: one store of `tell_sums`
    if WRONG:
        gl.static_assert(begins_with(LEFT, 1, 2))
    gl.store(x_ptr, 0)
