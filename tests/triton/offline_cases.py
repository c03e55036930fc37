"""The kernels that `offline` compiles: all that a plan may choose, each as large as it gets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fastlstm.backends.triton import plan

SHARED_MEMORY = {80: 163 << 10, 90: 227 << 10, 100: 227 << 10}  # bytes a program may have, by GPU


class Case(NamedTuple):
    """A persistent kernel, and what it is specialized on."""

    name: str
    how: plan.Plan
    backward: bool
    dtype: str
    saves: bool = True
    ragged: bool = True
    directions: int = 2

    @property
    def bits(self) -> int:
        """Of an element of weight_hh."""
        return 32 if self.dtype == "float32" else 16

    @property
    def hidden(self) -> int:
        """The largest H of the programs."""
        return self.how.units * (self.how.programs if isinstance(self.how, plan.Group) else 1)


def cases(architecture: int) -> dict[str, Case]:
    """All kernels that a plan may choose for an architecture, by name."""
    found: dict[str, Case] = {}
    for backward in (False, True):
        for bits, limits in (plan.BACKWARD if backward else plan.FORWARD).items():
            of_groups = [
                case_of(of_limit(limit, bits, backward), bits, backward)
                for limit in limits
                if architecture >= limit.architecture
            ]
            of_programs = [
                case_of(how, bits, backward) for how in _programs(bits, architecture, backward)
            ]
            for n, case in enumerate((*of_groups[:2], *of_programs, *of_groups[2:])):
                for variant in (case, *_variants(case, many=n < 4)):
                    assert variant.name not in found
                    found[variant.name] = variant
    return found


def of_limit(limit: plan.Limit, bits: int, backward: bool) -> plan.Group:
    """A group whose warps have all of K that the limit lets them have."""
    K = plan.WARPS * limit.reach * limit.k_parts
    return plan.cut(K // 4 if backward else K, 1, 2, bits, limit, backward)


def case_of(how: plan.Plan, bits: int, backward: bool) -> Case:
    """A plan's kernel, the worst of its variants: it saves for backward, sequences are ragged."""
    name = f"{'backward' if backward else 'forward'}-{bits}bit"
    if isinstance(how, plan.Program):
        name += f"-program{how.units}"
    else:
        name += f"-units{how.units}-tiles{how.tiles}-reach{how.chunk * how.chunks}"
        name += f"-parts{how.k_parts}" if how.k_parts > 1 else ""
    return Case(name, how, backward, "bfloat16" if bits == 16 else "float32")


def _programs(bits: int, architecture: int, backward: bool) -> Iterator[plan.Program]:
    device = plan.Device(108, SHARED_MEMORY[architecture], architecture)
    for units in (16, 32, 64, 128):
        how = plan.choose(units, 1, 2, bits, device, backward)
        if isinstance(how, plan.Program):
            yield how


def _variants(case: Case, many: bool) -> Iterator[Case]:
    """Other kernels of the same plan; `many`: also those that hardly differ."""
    if not case.backward:
        yield case._replace(name=f"{case.name}-inference", saves=False)
    if many:
        yield case._replace(name=f"{case.name}-one_direction", directions=1)
        yield case._replace(name=f"{case.name}-padded", ragged=False)
        if case.bits == 16:
            yield case._replace(name=f"{case.name}-float16", dtype="float16")
