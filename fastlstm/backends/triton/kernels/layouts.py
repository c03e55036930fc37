"""Which thread holds which element, in the Gluon kernels. Layouts never change a value.

W warps, M sequences of a tile, H units of a slice or of a layer; 16-bit elements go eight, 32-bit
ones four to a load of 16 bytes.
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl


@gluon.constexpr_function
def split_k(warps):
    """Products ``[W, M, N]`` over parts of K, one part a warp, to be added up."""
    return gl.NVMMADistributedLayout([2, 0], [warps, 1, 1], [1, 16, 8])


@gluon.constexpr_function
def split_n(warps):
    """A product ``[M, N]`` whose columns are dealt to the warps."""
    return gl.NVMMADistributedLayout([2, 0], [1, warps], [16, 8])


@gluon.constexpr_function
def operand(index, product, bits, of_memory):
    """Operand 0 or 1 of a product; `of_memory`: 16 bytes along K in a thread, to load at once."""
    return gl.DotOperandLayout(index, product, (128 if of_memory else 32) // bits)


@gluon.constexpr_function
def arriving(warps, chunk, bits):
    """``[W, 16, K]`` as operand 0 of `split_k` wants it `of_memory`, but each element once.

    A thread of the operand has those of the smallest chunk twice, and would wait for both.
    """
    each = 128 // bits
    registers = [[0, 0, 1 << n] for n in range(each.bit_length() - 1)] + [[0, 8, 0]]
    registers += [
        [0, 0, 1 << n] for n in range((4 * each).bit_length() - 1, chunk.bit_length() - 1)
    ]
    lanes = [[0, 0, each], [0, 0, 2 * each], [0, 1, 0], [0, 2, 0], [0, 4, 0]]
    of_warps = [[1 << n, 0, 0] for n in range(warps.bit_length() - 1)]
    return gl.DistributedLinearLayout(registers, lanes, of_warps, [], [warps, 16, chunk])


@gluon.constexpr_function
def to_add(warps, units, gates, parts=None):
    """``[parts, M, gates * units]`` to be added over the parts: a unit's gates are one thread's."""
    each = [warps if parts is None else parts, 1, gates]
    across = min(units, 32)
    return gl.BlockedLayout(each, [1, 32 // across, across], [1, warps, 1], [2, 1, 0])


@gluon.constexpr_function
def four_gates(warps, units):
    """``[M, 4 * units]``, a unit's gates in one thread, which has what it has in `to_add`."""
    across = min(units, 32)
    return gl.BlockedLayout([1, 4], [32 // across, across], [warps, 1], [1, 0])


@gluon.constexpr_function
def pairs(warps, sequences, units):
    """``[M, H]``, two neighbouring units a thread, in the warp that has them in `to_add`."""
    across = min(units, 32)
    lanes = [[0, 1 << n] for n in range(1, across.bit_length() - 1)]
    row = 1
    while row < 32 // across:
        lanes.append([row, 0])
        row *= 2
    lanes.append([0, 0])  # half of the threads have a copy
    registers, of_warps = [[0, 1]], []
    for _ in range(warps.bit_length() - 1):
        of_warps.append([row, 0] if row < sequences else [0, 0])
        row *= 2
    while row < sequences:
        registers.append([row, 0])
        row *= 2
    registers += [[0, 1 << n] for n in range(5, units.bit_length() - 1)]
    return gl.DistributedLinearLayout(registers, lanes, of_warps, [], [sequences, units])


@gluon.constexpr_function
def gates_of_product(warps, sequences, units):
    """``[M, 4 * H]`` in memory's order: a thread has the gates of the units it has in `split_n`."""
    registers = [[0, 1], [0, 2], [0, 4], [8, 0]]
    lanes = [[0, 8], [0, 16], [1, 0], [2, 0], [4, 0]]
    of_warps, column = [], 8
    for _ in range(warps.bit_length() - 1):
        of_warps.append([0, 4 * column] if column < units else [0, 0])
        column *= 2
    while column < units:
        registers.append([0, 4 * column])
        column *= 2
    registers += [[1 << n, 0] for n in range(4, sequences.bit_length() - 1)]
    return gl.DistributedLinearLayout(registers, lanes, of_warps, [], [sequences, 4 * units])


@gluon.jit
def indices(COUNT: gl.constexpr, AXIS: gl.constexpr, LAYOUT: gl.constexpr):
    """0, 1, ... along one of three axes of a layout, for broadcasting."""
    if AXIS == 0:
        flat = gl.arange(0, COUNT, layout=gl.SliceLayout(1, gl.SliceLayout(2, LAYOUT)))
        return gl.expand_dims(gl.expand_dims(flat, 1), 2)
    elif AXIS == 1:
        flat = gl.arange(0, COUNT, layout=gl.SliceLayout(0, gl.SliceLayout(2, LAYOUT)))
        return gl.expand_dims(gl.expand_dims(flat, 0), 2)
    else:
        flat = gl.arange(0, COUNT, layout=gl.SliceLayout(0, gl.SliceLayout(0, LAYOUT)))
        return gl.expand_dims(gl.expand_dims(flat, 0), 0)
