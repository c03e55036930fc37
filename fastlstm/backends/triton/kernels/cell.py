"""The pointwise part of one LSTM step, forward and backward, in plain Triton: read this first.

B batch, H hidden padded to whole vectors, D directions; the four gates i, f, g, o of a unit lie
side by side. Rows past `size` are of sequences that have no such step: their states stay.
Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000.
"""

import triton
import triton.language as tl


@triton.jit
def _tanh(x):
    # 2*sigmoid(2x)-1: no overflow for large |x|, unlike (1-e)/(1+e). Near 0 it would cancel: there
    # an odd polynomial, its largest error made least by a weighted fit to tanh(x)/x.
    z = x * x
    q = -0.0058950751 * z + 0.020795896
    q = (q * z - 0.053783806) * z + 0.13331924
    q = (q * z - 0.33333298) * z
    return tl.where(tl.abs(x) < 0.6, x + x * q, 2.0 * tl.sigmoid(2.0 * x) - 1.0)


@triton.jit
def lstm_cell_forward(i, f, g, o, c_prev):
    """One step on pre-activations; returns the activated gates, c_t and h_t."""
    i, f, g, o = tl.sigmoid(i), tl.sigmoid(f), _tanh(g), tl.sigmoid(o)
    c = f * c_prev + i * g
    return i, f, g, o, c, o * _tanh(c)


@triton.jit
def lstm_cell_backward(i, f, g, o, c, c_prev, dh, dc):
    """The derivative of one step; returns those of the pre-activations, and of c_{t-1}."""
    tanh_c = _tanh(c)
    dc += dh * o * (1.0 - tanh_c * tanh_c)
    di = dc * g * i * (1.0 - i)
    df = dc * c_prev * f * (1.0 - f)
    dg = dc * i * (1.0 - g * g)
    do = dh * tanh_c * o * (1.0 - o)
    return di, df, dg, do, dc * f


@triton.jit
def _tile(size, H, BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr):
    """This program's sequences [BLOCK_B, 1], units [1, BLOCK_H] and which of them exist."""
    b = tl.program_id(0).to(tl.int64) * BLOCK_B + tl.arange(0, BLOCK_B)[:, None]
    unit = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)[None, :]
    return b, unit, (b < size) & (unit < H)


@triton.jit
def cell_forward_kernel(
    gates_ptr,  # [size, H, 4] in: what x gives; out, if SAVE: activated i, f, g, o
    product_ptr,  # [size, H, 4] h_{t-1} @ weight_hh.T
    h_ptr,  # [B, H] state, out
    c_ptr,  # [B, H] state, in and out, float32
    y_ptr,  # [size, hidden] out
    saved_c_ptr,  # [size, H] out, if SAVE, float32
    size,
    H,
    hidden,  # the units that the user knows of: H before padding
    gates_stride,  # of a row, as of y and saved_c
    y_stride,
    c_stride,
    SAVE: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_H: tl.constexpr,
):
    """The cell of one step of one direction, after the product with h_{t-1}."""
    b, unit, exists = _tile(size, H, BLOCK_B, BLOCK_H)
    gates = gates_ptr + b * gates_stride + unit * 4
    product = product_ptr + b * H * 4 + unit * 4
    state = b * H + unit
    i = tl.load(gates, mask=exists).to(tl.float32) + tl.load(product, mask=exists)
    f = tl.load(gates + 1, mask=exists).to(tl.float32) + tl.load(product + 1, mask=exists)
    g = tl.load(gates + 2, mask=exists).to(tl.float32) + tl.load(product + 2, mask=exists)
    o = tl.load(gates + 3, mask=exists).to(tl.float32) + tl.load(product + 3, mask=exists)
    c_prev = tl.load(c_ptr + state, mask=exists)

    i, f, g, o, c, h = lstm_cell_forward(i, f, g, o, c_prev)

    tl.store(h_ptr + state, h, mask=exists)
    tl.store(c_ptr + state, c, mask=exists)
    tl.store(y_ptr + b * y_stride + unit, h, mask=exists & (unit < hidden))
    if SAVE:
        tl.store(gates, i, mask=exists)
        tl.store(gates + 1, f, mask=exists)
        tl.store(gates + 2, g, mask=exists)
        tl.store(gates + 3, o, mask=exists)
        tl.store(saved_c_ptr + b * c_stride + unit, c, mask=exists)


@triton.jit
def cell_backward_kernel(
    gates_ptr,  # [size, H, 4] activated i, f, g, o
    dgates_ptr,  # [size, H, 4] out: of the pre-activations
    c_ptr,  # [size, H] float32, as all of c
    c_prev_ptr,  # [known, H] of the step before, for the sequences that had one
    c_0_ptr,  # [B, H] for the others
    dy_ptr,  # [size, hidden] or None
    dh_ptr,  # [B, H] what comes back from the step after
    dc_ptr,  # [B, H] the same for c, in and out, float32
    size,
    known,
    H,
    hidden,
    gates_stride,
    c_stride,
    dy_stride,
    HAS_DY: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_H: tl.constexpr,
):
    """BPTT of the cell of one step, before the product of its dgates with weight_hh."""
    b, unit, exists = _tile(size, H, BLOCK_B, BLOCK_H)
    gates, row, state = gates_ptr + b * gates_stride + unit * 4, b * c_stride + unit, b * H + unit
    i = tl.load(gates, mask=exists).to(tl.float32)
    f = tl.load(gates + 1, mask=exists).to(tl.float32)
    g = tl.load(gates + 2, mask=exists).to(tl.float32)
    o = tl.load(gates + 3, mask=exists).to(tl.float32)
    c = tl.load(c_ptr + row, mask=exists)
    c_prev = tl.load(c_prev_ptr + row, mask=exists & (b < known), other=0.0)
    c_prev += tl.load(c_0_ptr + state, mask=exists & (b >= known), other=0.0)
    dh = tl.load(dh_ptr + state, mask=exists).to(tl.float32)
    if HAS_DY:
        dh += tl.load(dy_ptr + b * dy_stride + unit, mask=exists & (unit < hidden), other=0.0)
    dc = tl.load(dc_ptr + state, mask=exists)

    di, df, dg, do, dc = lstm_cell_backward(i, f, g, o, c, c_prev, dh, dc)

    dgates = dgates_ptr + b * gates_stride + unit * 4
    tl.store(dgates, di, mask=exists)
    tl.store(dgates + 1, df, mask=exists)
    tl.store(dgates + 2, dg, mask=exists)
    tl.store(dgates + 3, do, mask=exists)
    tl.store(dc_ptr + state, dc, mask=exists)
