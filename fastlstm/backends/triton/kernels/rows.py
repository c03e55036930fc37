"""Which rows a step has, and what backward reads of them."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl


@gluon.jit
def rows_of(starts_ptr, t, B, RAGGED: gl.constexpr):
    """The first row of step t, and how many sequences have that step."""
    if RAGGED:
        start = gl.load(starts_ptr + t)
        return start.to(gl.int64), gl.load(starts_ptr + t + 1) - start
    else:
        return t.to(gl.int64) * B, B


@gluon.jit
def rows_and_before(starts_ptr, t, step, has_prev, B, RAGGED: gl.constexpr):
    """`rows_of` step t, and of the step that it came from, where `step` leads: if there is one."""
    start, size = rows_of(starts_ptr, t, B, RAGGED)
    has_prev = has_prev.to(gl.int32)
    start_prev, size_prev = rows_of(starts_ptr, t + step * has_prev, B, RAGGED)
    return start, size, start_prev, size_prev * has_prev


@gluon.jit
def read_saved(tensors, places, sizes, start, size, start_prev, known):
    """What backward needs of a step: its gates, c, the c it came from and dy. Zeros outside.

    `tensors` are gates, c, c_0 and dy; `places` the sequences and elements of gates, and of the
    others; `known` sequences of the step from `start_prev` had a step before.
    """
    gates_ptr, c_ptr, c_0_ptr, dy_ptr = tensors
    b_gates, b, gate, unit = places
    D, d, B, H, has_dy = sizes
    here = (b < size) & (unit < H)
    inside = (b_gates < size) & (gate < 4 * H)
    gates = gl.load(gates_ptr + ((start + b_gates) * D + d) * 4 * H + gate, mask=inside, other=0.0)
    row = ((start + b) * D + d) * H + unit
    c = gl.load(c_ptr + row, mask=here, other=0.0)
    dy = gl.load(dy_ptr + row, mask=here & has_dy, other=0.0)
    row = ((start_prev + b) * D + d) * H + unit
    c_prev = gl.load(c_ptr + row, mask=here & (b < known), other=0.0)
    row = (d * B + b) * H + unit
    c_prev += gl.load(c_0_ptr + row, mask=here & (b >= known), other=0.0)
    return gates, c, c_prev, dy
