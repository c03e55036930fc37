"""A kernel whose loop has all that a loop of ours must not have: is it seen?"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl


@gluon.jit
def forbidden_kernel(x_ptr, steps):
    """A fence, an atomic whose result is used and one whose is not, at every step."""
    layout: gl.constexpr = gl.BlockedLayout([1], [32], [8], [0])
    pointers = x_ptr + gl.arange(0, 256, layout=layout)
    for _ in range(steps):
        found = gl.inline_asm_elementwise(
            """{
            fence.acq_rel.gpu;
            atom.relaxed.gpu.global.add.u32 $0, [$1], 1;
            red.relaxed.gpu.global.add.u32 [$1], 1;
            }""",
            "=r,l",
            [pointers],
            dtype=gl.int32,
            is_pure=False,
            pack=1,
        )
        gl.store(pointers, found)
