"""How the programs of a group tell each other sums of float32, in memory that is used again.

A ring of SLOTS steps. The last bit of a word says in which lap it was written, so that a word of
the lap before is not taken for this one's: that costs a sum half a unit in its last place. Memory
is zero before the kernel starts. A slot may be written again once all have read it, which the step
SLOTS later implies: see `split_backward`.
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from fastlstm.backends.triton import plan
from fastlstm.backends.triton.kernels.exchange import tell

SLOTS = gl.constexpr(plan.SLOTS)


@gluon.constexpr_function
def _await_lap(count, tries):
    """PTX: loads `count` words until each has the bit of the lap, or `abort` is set."""
    pointer, abort, lap = count, 2 * count, 3 * count
    loads = [f"ld.relaxed.gpu.global.b32 ${n}, [${pointer + n}];" for n in range(count)]
    tests = [f"xor.b32 v, ${n}, ${lap}; or.b32 t, t, v;" for n in range(count)]
    return "\n".join(
        [
            "{",
            ".reg .pred p, q; .reg .b32 n, t, u, v;",
            "mov.b32 n, 0;",
            "AGAIN_${:uid}:",
            *loads,
            "mov.b32 t, 0;",
            *tests,
            "and.b32 t, t, 1; setp.ne.u32 p, t, 0; vote.sync.any.pred p, p, 0xffffffff;",
            "@!p bra ARRIVED_${:uid};",
            f"ld.relaxed.gpu.global.b32 u, [${abort}];",
            "setp.ne.u32 q, u, 0; vote.sync.any.pred q, q, 0xffffffff;",
            "@q bra GIVE_UP_${:uid};",
            f"add.u32 n, n, 1; setp.lt.u32 q, n, {tries};",
            "@q bra AGAIN_${:uid};",
            f"st.relaxed.gpu.global.b32 [${abort}], 1;",
            "GIVE_UP_${:uid}:",
            *[f"mov.b32 ${n}, 0x7fffffff;" for n in range(count)],
            "ARRIVED_${:uid}:",
            "}",
        ]
    )


@gluon.constexpr_function
def _operands(count):
    return ",".join(["=&r"] * count + ["l"] * (2 * count) + ["r"] * count)


@gluon.jit
def lap_of(s):
    """The bit of the words of step s."""
    return 1 - (s // SLOTS) % 2


@gluon.jit
def tell_sums(pointers, sums, s, mask):
    """Stores sums of step s, four neighbours a thread."""
    bits = sums.to(gl.int32, bitcast=True)
    marked = (bits & -2) | lap_of(s)
    tell(pointers, marked.to(gl.float32, bitcast=True), mask, 4)


@gluon.jit
def receive_sums(pointers, s, abort, COUNT: gl.constexpr, TRIES: gl.constexpr):
    """The sums of step s, COUNT a thread, once all have arrived; NaN if one does not."""
    code: gl.constexpr = _await_lap(COUNT, TRIES)
    operands: gl.constexpr = _operands(COUNT)
    bits = gl.inline_asm_elementwise(
        code, operands, [pointers, abort, lap_of(s)], gl.int32, False, COUNT
    )
    return bits.to(gl.float32, bitcast=True)
