"""The C++ kernels without Python: on aarch64 in an emulator, and under the sanitizers.

They are built with the flags of setup.py and run by the driver in tests/kernels, which holds them
against a reference in float64.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fastlstm.backends import cpu

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
CORE = sorted(p for p in (ROOT / "csrc").glob("*.cpp") if p.stem != "dispatch")
DRIVER = [
    ROOT / f"tests/kernels/{name}.cpp"
    for name in ("check_kernels", "cases", "made_up", "int8", "reference", "run", "stack")
]
EVERY_VARIANT = [ROOT / "csrc/dispatch.cpp", *sorted((ROOT / "csrc/kernels").glob("*.cpp"))]
GENERIC = ROOT / "csrc/kernels/lstm_generic.cpp"
SOME_VARIANTS = ROOT / "tests/kernels/some_variants.cpp"
OPENMP = ROOT / "tests/kernels/openmp.cpp"  # instead of libgomp

ADDRESS = ["-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
THREAD = ["-O1", "-fsanitize=thread"]
CROSS = "aarch64-linux-gnu-"
EMULATOR = ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"]

# What setup.py would compile with, without doing it.
PRINT_FLAGS = """
import json, runpy, setuptools
asked = []
setuptools.setup = lambda **options: asked.extend(options["ext_modules"])
isa_flags = runpy.run_path("setup.py")["ISA_FLAGS"]
print(json.dumps([asked[0].extra_compile_args, isa_flags]))
"""


def run(*command, **options):
    """Standard output and error of a command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, **options)
    assert done.returncode == 0, f"{command[0]}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def flags():
    """The flags of all files, and those of a variant by its name."""
    pytest.importorskip("pybind11", reason="setup.py needs pybind11")
    return json.loads(run(sys.executable, "-c", PRINT_FLAGS, cwd=ROOT))


def build(folder, flags, sources, *extra, compiler="g++", link=("-fopenmp",)):
    """The driver and its objects by name, from `sources` and what all builds share."""
    common, of_isa = flags
    sources = [*CORE, *DRIVER, *sources]
    objects = {source.stem: folder / f"{source.stem}.o" for source in sources}

    def compile_one(source):
        isa = of_isa.get(source.stem.rpartition("_")[2], [])
        options = [*common, *isa, *extra, "-I", ROOT / "csrc"]
        run(compiler, *options, "-c", source, "-o", objects[source.stem])

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(compile_one, sources))
    run(compiler, *extra, *objects.values(), *link, "-o", folder / "check")
    return folder / "check", objects


def assert_all_passed(output):
    assert re.search(r"^[1-9]\d* passed, 0 failed$", output, re.MULTILINE), output


def skip_without(*programs):
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")


def skip_unless_it_works(folder, *options):
    """Skip if the native compiler lacks what `options` need, or this machine cannot run it."""
    skip_without("g++")
    source, program = folder / "empty.cpp", folder / "empty"
    source.write_text("int main() {}\n")
    for command in (["g++", *options, source, "-o", program], [program]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"{' '.join(options)} does not work here: {done.stderr.strip()[:200]}")


@pytest.fixture(scope="module")
def aarch64(tmp_path_factory, flags):
    skip_without(f"{CROSS}g++")
    folder = tmp_path_factory.mktemp("aarch64")
    return build(folder, flags, [ROOT / "csrc/dispatch.cpp", GENERIC], compiler=f"{CROSS}g++")


def test_aarch64(aarch64):
    skip_without(EMULATOR[0])
    assert_all_passed(run(*EMULATOR, aarch64[0], "quick"))


def test_aarch64_multiplies_vectors(aarch64):
    """Products are fused multiply-adds of four floats, and hardly any of one."""
    code = run(f"{CROSS}objdump", "-d", aarch64[1]["lstm_generic"])
    fused = len(re.findall(r"\bfmla\tv\d+\.4s", code))
    scalar = len(re.findall(r"\bf(?:n?madd|n?msub)\t", code))
    assert fused > 1000
    assert scalar < fused / 100


@pytest.mark.skipif(
    os.uname().machine != "x86_64", reason="elsewhere there is only the generic variant"
)
def test_every_variant(tmp_path, flags):
    skip_without("g++")
    program, _ = build(tmp_path, flags, EVERY_VARIANT)
    assert_all_passed(run(program))


@pytest.fixture(scope="module")
def watched():
    """What is built under a sanitizer: sources and flags. The portable variant and the best.

    `FASTLSTM_SANITIZE=all`: every variant, which takes minutes.
    """
    if os.environ.get("FASTLSTM_SANITIZE") == "all" and os.uname().machine == "x86_64":
        return EVERY_VARIANT, []
    best = cpu.isas()[-1]
    if best == "generic":
        return [SOME_VARIANTS, GENERIC], []
    source = ROOT / f"csrc/kernels/lstm_{best}.cpp"
    return [SOME_VARIANTS, GENERIC, source], [f"-DFASTLSTM_CHECKED={best}"]


def check(program, shapes):
    """The listed cases, then made-up ones: three times as many where every variant is watched."""
    shapes *= 3 if os.environ.get("FASTLSTM_SANITIZE") == "all" else 1
    for arguments in (["quick"], [str(shapes), "1"]):
        assert_all_passed(run(program, *arguments))


def test_address_and_undefined_behaviour(tmp_path, flags, watched):
    skip_unless_it_works(tmp_path, *ADDRESS, "-fopenmp")
    sources, chosen = watched
    program, _ = build(tmp_path, flags, sources, *chosen, *ADDRESS)
    check(program, 60)


def test_data_races(tmp_path, flags, watched):
    """libgomp would hide from the sanitizer what its threads wait for: plain threads stand in."""
    skip_unless_it_works(tmp_path, *THREAD, "-pthread")
    sources, chosen = watched
    sources = [*sources, OPENMP]
    program, _ = build(tmp_path, flags, sources, *chosen, *THREAD, link=["-pthread"])
    check(program, 50)
