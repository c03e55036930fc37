"""How the programs of a group tell each other h and dgates, through the GPU's L2 cache.

The memory is full of ones before the kernel starts, and no value that is told is all ones (that
would be a NaN which no arithmetic makes): a word that is not all ones has arrived. So a step has no
flag, no fence and no atomic (the sentinel of Lamport's algorithms, as in NVIDIA's low-latency
collectives). A wait is bounded, and one word, `abort`, ends all waits of a device.
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl


@gluon.constexpr_function
def _words(count, bits):
    """How many 32-bit registers hold a thread's `count` elements."""
    return count * bits // 32


@gluon.constexpr_function
def _load(words, bits):
    """PTX: registers 0 ... from memory, 16 bytes each; pointers follow, one an element."""
    lines = []
    for n in range(0, words, 4):
        registers = ", ".join(f"${n + i}" for i in range(4))
        address = words + n * 32 // bits
        lines.append(f"ld.relaxed.gpu.global.v4.b32 {{{registers}}}, [${address}];")
    return "\n".join(lines)


@gluon.constexpr_function
def _missing(words, bits, sm90):
    """PTX: predicate p, whether any element of registers 0 ... is all ones."""
    if bits == 16 and not sm90:  # there max.u16x2 does not exist: zero halves of the complement
        lines = ["mov.b32 t0, 0;"]
        for n in range(words):
            lines.append(f"not.b32 u, ${n}; sub.u32 v, u, 0x00010001;")
            lines.append(f"lop3.b32 v, v, ${n}, 0x80008000, 0x80; or.b32 t0, t0, v;")
        return "\n".join([*lines, "setp.ne.u32 p, t0, 0;"])
    kind = "u32" if bits == 32 else "u16x2"
    lines = ["mov.b32 t0, $0; mov.b32 t1, $1;"]  # two chains, half as long
    lines += [f"max.{kind} t{n % 2}, t{n % 2}, ${n};" for n in range(2, words)]
    lines.append(f"max.{kind} t0, t0, t1;")
    if bits == 32:
        lines.append("setp.eq.u32 p, t0, 0xffffffff;")
    else:
        lines.append("mov.b32 {lo, hi}, t0; max.u16 lo, lo, hi; setp.eq.u16 p, lo, 0xffff;")
    return "\n".join(lines)


@gluon.constexpr_function
def _await(words, count, bits, tries, sm90):
    """PTX: loads again until nothing is missing in the warp, or `abort` is set; sets it at last."""
    abort = words + count
    return "\n".join(
        [
            "{",
            ".reg .pred p, q; .reg .b32 n, t0, t1, u, v; .reg .b16 lo, hi;",
            "mov.b32 n, 0;",
            "AGAIN_${:uid}:",
            _missing(words, bits, sm90),
            "vote.sync.any.pred p, p, 0xffffffff;",
            "@!p bra ARRIVED_${:uid};",
            f"ld.relaxed.gpu.global.b32 u, [${abort}];",
            "setp.ne.u32 q, u, 0; vote.sync.any.pred q, q, 0xffffffff;",
            "@q bra ARRIVED_${:uid};",
            _load(words, bits),
            f"add.u32 n, n, 1; setp.lt.u32 q, n, {tries};",
            "@q bra AGAIN_${:uid};",
            f"st.relaxed.gpu.global.b32 [${abort}], 1;",
            "ARRIVED_${:uid}:",
            "}",
        ]
    )


@gluon.constexpr_function
def _operands(words, pointers, tied, early):
    outputs = ["=&r" if early else "=r"] * words
    return ",".join([*outputs, *["l"] * pointers, *[str(n) for n in range(words) if tied]])


@gluon.jit
def request(pointers, COUNT: gl.constexpr):
    """Starts to load COUNT elements a thread, 16 bytes at a time; gives bits, perhaps too early."""
    bits: gl.constexpr = pointers.dtype.element_ty.primitive_bitwidth
    words: gl.constexpr = _words(COUNT, bits)
    code: gl.constexpr = _load(words, bits)
    operands: gl.constexpr = _operands(words, COUNT, False, False)
    if bits == 16:
        return gl.inline_asm_elementwise(code, operands, [pointers], gl.int16, False, COUNT)
    else:
        return gl.inline_asm_elementwise(code, operands, [pointers], gl.int32, False, COUNT)


@gluon.jit
def receive(
    early,
    pointers,
    abort,
    COUNT: gl.constexpr,
    TRIES: gl.constexpr,
    SM90: gl.constexpr,
):
    """The elements that `request` asked for, once all of them have arrived.

    After TRIES loads in vain, or when another program gave up: what is there, NaN where nothing is.
    """
    bits: gl.constexpr = pointers.dtype.element_ty.primitive_bitwidth
    words: gl.constexpr = _words(COUNT, bits)
    arrived = gl.inline_asm_elementwise(
        _await(words, COUNT, bits, TRIES, SM90),
        _operands(words, 2 * COUNT, True, True),
        [pointers, abort, early],
        dtype=early.dtype,
        is_pure=False,
        pack=COUNT,
    )
    return arrived.to(pointers.dtype.element_ty, bitcast=True)


@gluon.constexpr_function
def _store(count, words):
    """PTX: `count` elements, in `words` registers, to memory if the first flag is not 0."""
    # registers: results, of which there are none but in name, then pointers, values and flags
    values = ", ".join(f"${2 * count + n}" for n in range(words))
    vector = f".v{words}" if words > 1 else ""
    lines = [
        f"{{ .reg .pred p; setp.ne.s32 p, ${2 * count + words}, 0;",
        f"@p st.relaxed.gpu.global{vector}.b32 [${count}], {{{values}}};",
        *[f"mov.b32 ${n}, 0;" for n in range(count)],
    ]
    return "\n".join([*lines, "}"])


@gluon.constexpr_function
def _operands_to_store(count, words):
    return ",".join(["=r"] * count + ["l"] * count + ["r"] * (words + count))


@gluon.jit
def tell(pointers, values, mask, COUNT: gl.constexpr):
    """Stores values, COUNT neighbours a thread in one instruction: 4, 8 or 16 bytes."""
    bits: gl.constexpr = values.dtype.primitive_bitwidth
    words: gl.constexpr = _words(COUNT, bits)
    code: gl.constexpr = _store(COUNT, words)
    operands: gl.constexpr = _operands_to_store(COUNT, words)
    flags = mask.to(gl.int32)
    told = values.to(gl.int16, bitcast=True) if bits == 16 else values.to(gl.int32, bitcast=True)
    gl.inline_asm_elementwise(code, operands, [pointers, told, flags], gl.int32, False, COUNT)


@gluon.jit
def as_tf32(values):
    """Float32 values rounded to the 10 bits that a product in TF32 takes, others as they are.

    The multiplier would cut them off: twice the error.
    """
    if values.dtype.primitive_bitwidth == 32:
        return gl.inline_asm_elementwise(
            "cvt.rna.tf32.f32 $0, $1;", "=r,r", [values], dtype=gl.float32, is_pure=True, pack=1
        )
    else:
        return values
