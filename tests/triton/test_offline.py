"""What the offline compiler makes of the GPU kernels: all that a plan may choose, no GPU needed.

No spills in the time loop, weight_hh not loaded in it, its barriers counted, no fence, no atomic.
"""

import fcntl
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import triton
from offline_cases import SHARED_MEMORY, cases

from fastlstm.backends.triton import plan

ARCHITECTURES = (80, 90, 100)
OTHER = os.environ.get("FASTLSTM_OTHER_TRITON")
FORBIDDEN = ("MEMBAR", "ERRBAR", "FENCE", "ATOM", "ATOMG", "RED", "REDG")
FEW = 64  # bytes of stack before the loop, where weights are loaded, do not matter
FACTS = "FASTLSTM_TEST_FACTS"  # a folder
NONE = pytest.mark.skipif(not OTHER, reason="FASTLSTM_OTHER_TRITON names no other Triton")
BUILDS = [
    *(pytest.param(architecture, "own", id=f"sm_{architecture}") for architecture in ARCHITECTURES),
    pytest.param(90, "other", id="sm_90-other", marks=NONE),
]
EVERY = [
    pytest.param(*build.values, name, id=f"{build.id}-{name}", marks=build.marks)
    for build in BUILDS
    for name in cases(build.values[0])
]


@cache
def compiled(architecture, version="own"):
    """The facts about every kernel, by name: once for all of pytest's processes."""
    kept = Path(os.environ[FACTS]) / f"{architecture}-{version}.json"
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            kept.write_text(compile_all(architecture, version))
    found = json.loads(kept.read_text())
    assert version == "own" or found["triton"] != triton.__version__, "the same Triton"
    return found["kernels"]


def compile_all(architecture, version):
    """In a process of its own, without interpreter."""
    python = sys.executable if version == "own" else OTHER
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = str(Path(plan.__file__).parents[3])
    script = Path(__file__).with_name("offline.py")
    done = subprocess.run(
        [python, script, str(architecture)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()[-1]


@pytest.fixture(scope="session", autouse=True)
def _nothing_from_before(tmp_path_factory):
    os.environ["TRITON_CACHE_DIR"] = str(tmp_path_factory.mktemp("triton"))
    base = tmp_path_factory.getbasetemp()  # of each process its own, beside those of the others
    os.environ[FACTS] = str(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)
    yield
    del os.environ["TRITON_CACHE_DIR"], os.environ[FACTS]


def products(case):
    """Instructions of the tensor cores that a step takes."""
    deep, how = 16 if case.bits == 16 else 8, case.how
    if isinstance(how, plan.Program):
        return 4 * (how.units // deep) * max(1, how.units // 8 // plan.WARPS)
    columns = how.units * (how.k_parts if case.backward else 4)
    return how.tiles * how.chunks * (how.chunk // deep) * (columns // 8)


def loads(case):
    """The loads of a step but for those that wait: what it needs of x, or of what was saved."""
    how, rows = case.how, (4 if case.backward else 2) * case.ragged
    if isinstance(how, plan.Program):
        vectors = max(case.bits // 8, plan.SEQUENCES * how.units * case.bits // 8 // 1024)
        pairs = 2 * max(1, how.units // 64)
        return vectors + (4 * pairs if case.backward else 0) + rows
    return (6 if case.backward else 1) * how.tiles + rows


def waiting_loads(case):
    """A first load of each vector, one in the loop of a wait, and the word that ends all waits."""
    how = case.how
    if isinstance(how, plan.Program):
        return 0
    vectors = plan.SEQUENCES * how.chunk // 32 * case.bits // 128
    each = how.tiles * how.chunks * (2 * vectors + 1)
    if how.k_parts > 1:
        received = how.k_parts * max(1, plan.SEQUENCES * how.units // (32 * plan.WARPS))
        each += how.tiles * (received + 1)
    return each


@pytest.mark.parametrize(("architecture", "version", "name"), EVERY)
def test_the_time_loop(architecture, version, name):
    case, facts = cases(architecture)[name], compiled(architecture, version)[name]
    loop, spills = facts["loop"], ("LDL", "STL")
    if version == "other" and getattr(case.how, "tiles", 1) == 4:
        spills = ()  # Triton 3.9.0 spills a little there
    for forbidden in (*spills, *FORBIDDEN):
        assert forbidden not in loop, f"{loop[forbidden]} {forbidden}"
    assert loop["BAR"] == 2 * getattr(case.how, "tiles", 1)
    assert loop["HMMA"] == products(case)
    assert loop["LDG"] == loads(case)
    assert loop.get("LDG.STRONG", 0) == waiting_loads(case)
    assert facts["registers"] <= 255
    assert facts["stack"] <= FEW or not spills
    assert facts["shared"] <= SHARED_MEMORY[architecture]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_too_much_for_the_registers_is_seen(architecture):
    facts = compiled(architecture)["too-much"]
    assert facts["loop"].get("LDL", 0) > 0
    assert facts["stack"] > FEW


@pytest.mark.parametrize(("architecture", "version"), BUILDS)
def test_fences_and_atomics_are_seen(architecture, version):
    loop = compiled(architecture, version)["forbidden"]["loop"]
    seen = {name for name in FORBIDDEN if loop.get(name)}
    assert seen in ({"MEMBAR", "ERRBAR", "ATOMG", "RED"}, {"MEMBAR", "ERRBAR", "ATOMG", "REDG"})


@pytest.mark.parametrize(("architecture", "version"), BUILDS)
def test_the_plain_kernels_compile(architecture, version):
    found = compiled(architecture, version)["cell"]
    assert set(found) == {"float32", "bfloat16", "float16"}
    assert all(size > 1000 for sizes in found.values() for size in sizes)


@pytest.mark.parametrize(("architecture", "version"), BUILDS)
def test_layouts_are_what_the_exchange_takes_them_for(architecture, version):
    right, wrong = compiled(architecture, version)["layouts"]
    assert right == [True, True]
    assert wrong == [False, False]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("bits", [16, 32])
def test_shared_memory_is_what_a_plan_counts_on(architecture, backward, bits):
    for name, case in cases(architecture).items():
        is_own = case.backward == backward and case.bits == bits
        if is_own and isinstance(case.how, plan.Group):
            counted = plan.shared_memory(case.how, bits, backward)
            assert compiled(architecture)[name]["shared"] <= counted
