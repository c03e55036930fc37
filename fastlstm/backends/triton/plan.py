"""Which kernel runs a recurrence, and how it is cut into programs.

H hidden padded to whole vectors, B batch, D directions. A persistent kernel keeps weight_hh on the
chip for all steps; its programs must all run at once, one on a multiprocessor. What does not fit
goes step by step.
"""

from __future__ import annotations

from typing import NamedTuple

WARPS = 8
SEQUENCES = 16  # of a tile: as many rows as the tensor cores' smallest product has


class Device(NamedTuple):
    """What is asked of a GPU."""

    multiprocessors: int  # of this one, or of the part that MIG leaves
    shared_memory: int  # bytes that a program may have


class Program(NamedTuple):
    """A tile of sequences and all units are one program's: no program waits for another."""

    units: int  # a power of two, at least H
    resident: bool  # weight_hh is in registers, else in shared memory
    grid: int


class Group(NamedTuple):
    """`programs` programs share the units of `tiles` tiles of sequences, `units` each."""

    units: int
    chunk: int  # of K, for each warp: a power of two
    chunks: int
    tiles: int
    programs: int
    grid: int


Plan = Program | Group


class Limit(NamedTuple):
    """What registers hold of a group's slice: at most `reach` of K a warp, with `tiles` tiles."""

    units: int
    tiles: int
    reach: int


# In the order in which they are tried: few units a program make steps short, many tiles few groups.
# Compiled without spilling in the loop, which tests/triton/test_compile.py holds.
FORWARD = {
    16: [
        *(Limit(8, 1, 128), Limit(16, 1, 128), Limit(8, 2, 128), Limit(16, 2, 128)),
        *(Limit(8, 4, 96), Limit(16, 4, 32)),
    ],
    32: [
        *(Limit(8, 1, 96), Limit(16, 1, 64), Limit(8, 2, 80), Limit(16, 2, 48)),
        *(Limit(8, 4, 48), Limit(16, 4, 32)),
    ],
}
BACKWARD = {
    16: [
        *(Limit(8, 1, 320), Limit(16, 1, 256), Limit(8, 2, 320), Limit(16, 2, 256)),
        *(Limit(8, 4, 192), Limit(16, 4, 192)),
    ],
    32: [Limit(8, 1, 128), Limit(16, 1, 128), Limit(8, 2, 128), Limit(16, 2, 128)],
}


def choose(
    H: int, batch: int, directions: int, bits: int, device: Device, backward: bool
) -> Plan | None:
    """The persistent kernel for a recurrence, or None: step by step."""
    if batch == 0:
        return None
    return _program(H, batch, directions, bits, device, backward) or _group(
        H, batch, directions, bits, device, backward
    )


def _program(
    H: int, batch: int, directions: int, bits: int, device: Device, backward: bool
) -> Program | None:
    units = max(16, 1 << (H - 1).bit_length())
    if units * bits > (128 * 16 if not backward or bits == 16 else 64 * 32):
        return None
    resident = units <= 64 or not backward
    needed = 0 if resident else 4 * units * units * bits // 8
    if needed + 4 * SEQUENCES * units * bits // 8 > device.shared_memory:
        return None
    return Program(units, resident, directions * -(-batch // SEQUENCES))


def _group(
    H: int, batch: int, directions: int, bits: int, device: Device, backward: bool
) -> Group | None:
    K = 4 * H if backward else H
    smallest = 512 // bits  # 16 bytes in each of the four lanes that share a row
    reach = -(-K // (WARPS * smallest)) * smallest
    for limit in (BACKWARD if backward else FORWARD)[bits]:
        programs = -(-H // limit.units)
        grid = directions * -(-batch // (SEQUENCES * limit.tiles)) * programs
        if reach <= limit.reach and grid <= device.multiprocessors:
            chunk = reach & -reach
            return Group(limit.units, chunk, reach // chunk, limit.tiles, programs, grid)
    return None
