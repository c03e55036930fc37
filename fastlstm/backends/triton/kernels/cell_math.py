"""The pointwise part of a step for the Gluon kernels: the formulas of `cell`, in float32."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl


@gluon.jit
def sigmoid(x):
    """Logistic function."""
    return 1.0 / (1.0 + gl.exp(-x))


@gluon.jit
def tanh(x):
    """Hyperbolic tangent: no overflow for large x, either sign.

    It cancels near 0, to 1e-7: far below what products of 16 bits or in TF32 leave.
    """
    return 2.0 / (1.0 + gl.exp(-2.0 * x)) - 1.0


@gluon.jit
def cell_forward(i, f, g, o, c_prev):
    """One step on pre-activations; returns the activated gates, c_t and h_t."""
    i = sigmoid(i)
    f = sigmoid(f)
    g = tanh(g)
    o = sigmoid(o)
    c = f * c_prev + i * g
    return i, f, g, o, c, o * tanh(c)


@gluon.jit
def cell_backward(i, f, g, o, c, c_prev, dh, dc):
    """The derivative of one step; returns those of the pre-activations, and of c_{t-1}."""
    tanh_c = tanh(c)
    dc = dc + dh * o * (1.0 - tanh_c * tanh_c)
    di = dc * g * i * (1.0 - i)
    df = dc * c_prev * f * (1.0 - f)
    dg = dc * i * (1.0 - g * g)
    do = dh * tanh_c * o * (1.0 - o)
    return di, df, dg, do, dc * f


@gluon.jit
def split_gates(values, M: gl.constexpr, UNITS: gl.constexpr):
    """``[M, 4 * UNITS]``, a unit's gates side by side, as i, f, g, o: no data moves."""
    i_and_g, f_and_o = gl.split(gl.reshape(values, [M, UNITS, 2, 2]))
    i, g = gl.split(i_and_g)
    f, o = gl.split(f_and_o)
    return i, f, g, o


@gluon.jit
def join_gates(i, f, g, o, M: gl.constexpr, UNITS: gl.constexpr):
    """The inverse of `split_gates`."""
    return gl.reshape(gl.join(gl.join(i, g), gl.join(f, o)), [M, 4 * UNITS])


@gluon.jit
def rows_of(starts_ptr, t, B, RAGGED: gl.constexpr):
    """The first row of step t, and how many sequences have that step."""
    if RAGGED:
        start = gl.load(starts_ptr + t)
        return start.to(gl.int64), gl.load(starts_ptr + t + 1) - start
    else:
        return t.to(gl.int64) * B, B


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
