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
def split_gates_as(values, LAYOUT: gl.constexpr, M: gl.constexpr, UNITS: gl.constexpr):
    """`split_gates` in float32 and in a layout that has the same elements in the same threads."""
    i, f, g, o = split_gates(values.to(gl.float32), M, UNITS)
    i = gl.convert_layout(i, LAYOUT, assert_trivial=True)
    f = gl.convert_layout(f, LAYOUT, assert_trivial=True)
    g = gl.convert_layout(g, LAYOUT, assert_trivial=True)
    o = gl.convert_layout(o, LAYOUT, assert_trivial=True)
    return i, f, g, o


@gluon.jit
def join_gates(i, f, g, o, M: gl.constexpr, UNITS: gl.constexpr):
    """The inverse of `split_gates`."""
    return gl.reshape(gl.join(gl.join(i, g), gl.join(f, o)), [M, 4 * UNITS])
