"""What the machine code of a kernel is made of, with the tools that come with Triton."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

LABEL = re.compile(r"(\.L_x_\d+):")
INSTRUCTION = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(@\S+\s+)?([A-Z][\w.]*)([^;]*);")
TARGET = re.compile(r"`\((\.L_x_\d+)\)")
RESOURCES = re.compile(r"REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)")


def read(cubin: bytes) -> dict[str, Any]:
    """Registers of a thread, its bytes of stack, and how many of each instruction the loop has.

    Loads that the other programs' stores are sure to reach count as LDG.STRONG.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        found = RESOURCES.search(_run("cuobjdump", "--dump-resource-usage", path))
        code = _run("nvdisasm", "-c", path)
    assert found, "cuobjdump prints something else"
    registers, stack, local = (int(n) for n in found.groups())
    return {"registers": registers, "stack": stack + local, "loop": Counter(loop(code))}


def loop(code: str) -> list[str]:
    """The instructions of the largest loop, and of those in it: all that come back to themselves.

    So it does not matter where the assembler puts a part of the loop that is seldom run.
    """
    blocks = [_Block()]
    at = {}
    for line in code.splitlines():
        if label := LABEL.match(line):
            at[label[1]] = len(blocks)
            blocks[-1].follow(len(blocks))
            blocks.append(_Block())
        elif instruction := INSTRUCTION.search(line):
            blocks[-1].add(*instruction.groups())
            if "BRA" in instruction[2] or instruction[2] == "EXIT":
                blocks[-1].follow(len(blocks))
                blocks.append(_Block())
    for block in blocks:
        block.next |= {at[label] for label in block.labels}
    reached = [_reached(blocks, n) for n in range(len(blocks))]
    loops = [
        [name for m in ahead if n in reached[m] for name in blocks[m].names]
        for n, ahead in enumerate(reached)
        if n in ahead
    ]
    return max(loops, key=len, default=[])


class _Block:
    """Instructions of which all run if the first does."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.labels: list[str] = []
        self.next: set[int] = set()
        self.ends = False

    def add(self, condition: str | None, name: str, operands: str) -> None:
        self.names.append(_short(name))
        self.labels += TARGET.findall(operands)
        always = not condition and name in ("BRA", "EXIT", "RET.REL.NODEC")
        self.ends = always and not operands.partition("`")[0].strip()

    def follow(self, n: int) -> None:
        if not self.ends:
            self.next.add(n)


def _short(name: str) -> str:
    """LDG.E.128.STRONG.GPU: LDG.STRONG; HMMA.16816.F32.BF16: HMMA."""
    first, *others = name.split(".")
    return f"{first}.STRONG" if first == "LDG" and "STRONG" in others else first


def _reached(blocks: list[_Block], n: int) -> set[int]:
    found: set[int] = set()
    ahead = [n]
    while ahead:
        new = blocks[ahead.pop()].next - found
        found |= new
        ahead += new
    return found


def _run(tool: str, *arguments: str | Path) -> str:
    import triton

    path = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / tool
    command = [str(argument) for argument in (path, *arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
