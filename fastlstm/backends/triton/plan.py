"""Which kernel runs a recurrence, and how it is cut into programs.

H hidden padded to whole vectors, B batch, D directions. A persistent kernel keeps weight_hh on the
chip for all steps; its programs must all run at once, one on a multiprocessor. What does not fit
goes step by step.
"""

from __future__ import annotations

from typing import NamedTuple

WARPS = 8
SLOTS = 4  # steps in a ring of sums
SEQUENCES = 16  # of a tile: as many rows as the tensor cores' smallest product has


class Device(NamedTuple):
    """What is asked of a GPU."""

    multiprocessors: int  # of this one, or of the part that MIG leaves
    shared_memory: int  # bytes that a program may have
    architecture: int  # 90: sm_90


class Program(NamedTuple):
    """A tile of sequences and all units are one program's: no program waits for another."""

    units: int  # a power of two, at least H
    resident: bool  # weight_hh is in registers; in backward perhaps in shared memory instead
    grid: int


class Group(NamedTuple):
    """`programs` programs share the units of `tiles` tiles of sequences, `units` each."""

    units: int
    tiles: int
    chunk: int  # of K, for each warp: a power of two
    chunks: int
    resident: int  # how many chunks of weight_hh are in registers, the rest in shared memory
    programs: int
    grid: int
    k_parts: int = 1  # more: backward with K split over programs too


Plan = Program | Group


class Limit(NamedTuple):
    """A kind of group, and how much of K a warp of it can have without spilling."""

    units: int
    tiles: int
    reach: int
    k_parts: int = 1
    chunk: int = 0  # 0: as large as divides what a warp has
    resident: int = 8
    architecture: int = 80  # the oldest


# In the order in which they are tried: few units a program make steps short, many tiles few groups.
# Compiled without spilling in the loop, which tests/triton/test_offline.py holds.
FORWARD = {
    16: [
        *(Limit(8, 1, 128), Limit(16, 1, 128), Limit(8, 2, 128), Limit(16, 2, 96)),
        *(Limit(16, 2, 128, architecture=90), Limit(8, 4, 64), Limit(8, 4, 96, architecture=90)),
        Limit(16, 4, 32),
    ],
    32: [
        *(Limit(8, 1, 96), Limit(16, 1, 64), Limit(8, 2, 80), Limit(16, 2, 48)),
        *(Limit(8, 4, 32), Limit(8, 4, 48, architecture=90), Limit(16, 4, 32)),
    ],
}
BACKWARD = {
    16: [
        *(Limit(8, 1, 256), Limit(16, 1, 256), Limit(8, 2, 256), Limit(16, 2, 256)),
        *(Limit(8, 4, 160), Limit(16, 4, 128)),
        *(Limit(8, 1, 128, 4, 32), Limit(16, 1, 128, 4, 32, 2), Limit(8, 2, 128, 4, 32)),
        *(Limit(16, 2, 128, 4, 32, 1, 90), Limit(16, 4, 128, 4, 64, 0, 90)),
    ],
    32: [
        *(Limit(8, 1, 128), Limit(16, 1, 128), Limit(8, 2, 128), Limit(16, 2, 128)),
        *(Limit(8, 1, 128, 4, 32, 2), Limit(8, 2, 96, 4, 32, 1)),
    ],
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
    if units * bits > 128 * 16:
        return None
    resident = units <= 64 or not backward
    needed = 0 if resident else 4 * units * units * bits // 8
    if needed + 4 * SEQUENCES * units * bits // 8 > device.shared_memory:
        return None
    return Program(units, resident, directions * -(-batch // SEQUENCES))


def _group(
    H: int, batch: int, directions: int, bits: int, device: Device, backward: bool
) -> Group | None:
    for limit in (BACKWARD if backward else FORWARD)[bits]:
        if device.architecture >= limit.architecture:
            group = cut(H, batch, directions, bits, limit, backward)
            if (
                group.chunk * group.chunks <= limit.reach
                and group.grid <= device.multiprocessors
                and shared_memory(group, bits, backward) <= device.shared_memory
            ):
                return group
    return None


def cut(H: int, batch: int, directions: int, bits: int, limit: Limit, backward: bool) -> Group:
    """A recurrence on groups of one kind, whatever the GPU."""
    programs = -(-H // (limit.units * limit.k_parts)) * limit.k_parts
    K = 4 * limit.units * programs // limit.k_parts if limit.k_parts > 1 else 4 * H
    smallest = max(limit.chunk, 512 // bits)  # 16 bytes in each of the four lanes that share a row
    reach = -(-(K if backward else H) // (WARPS * smallest)) * smallest
    chunk = limit.chunk or reach & -reach
    chunks = reach // chunk
    grid = directions * -(-batch // (SEQUENCES * limit.tiles)) * programs
    resident = min(limit.resident, chunks)
    return Group(limit.units, limit.tiles, chunk, chunks, resident, programs, grid, limit.k_parts)


def shared_memory(group: Group, bits: int, backward: bool) -> int:
    """Bytes a program of a group needs: sums of two products, and chunks of weight_hh."""
    columns = group.units * (group.k_parts if backward else 4)
    sums = 2 * WARPS * SEQUENCES * columns * 4
    return sums + WARPS * group.chunk * columns * (group.chunks - group.resident) * bits // 8
