"""How fastlstm reaches its users: the sdist, wheels, an install without a compiler, versions."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from process import run_python

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LINES = (ROOT / "constraints.txt").read_text().splitlines()
PINS = dict(line.split("==") for line in LINES if not line.startswith("#"))


def built(what, source, out, **env):
    """The package that setuptools builds of a source tree, and what it says."""
    code = f"from setuptools import build_meta as b; print(b.build_{what}({str(out)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=source, env={**os.environ, **env},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return out / done.stdout.splitlines()[-1], done.stdout + done.stderr


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The sdist of a clean copy of the sources, unpacked."""
    pytest.importorskip("setuptools")
    pytest.importorskip("pybind11")
    folder = tmp_path_factory.mktemp("sdist")
    source = folder / "source"
    for name in ("csrc", "fastlstm"):
        ignored = shutil.ignore_patterns("*.so", "__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    path, _ = built("sdist", source, folder)
    with tarfile.open(path) as file:
        file.extractall(folder, filter="data")
    return folder / path.name.removesuffix(".tar.gz")


def test_sdist_has_all_that_a_build_needs(sdist):
    for name in ("csrc", "fastlstm"):
        kinds = ("*.py", "*.pyi", "*.cpp", "*.h", "*.inl", "py.typed")
        wanted = {path.relative_to(ROOT) for kind in kinds for path in (ROOT / name).rglob(kind)}
        missing = [str(path) for path in sorted(wanted) if not (sdist / path).exists()]
        assert missing == []
    assert (sdist / "LICENSE").exists()


@pytest.fixture(scope="module")
def plain(sdist, tmp_path_factory):
    """What is installed where there is no compiler."""
    out = tmp_path_factory.mktemp("wheel")
    wheel, said = built("wheel", sdist, out, CC="/no/compiler", CXX="/no/compiler")
    assert said.count("there is no C++ compiler '/no/compiler' here") == 1
    with zipfile.ZipFile(wheel) as file:
        assert not [name for name in file.namelist() if name.endswith(".so")]
        file.extractall(out / "site")
    return out / "site"


USE = """
import importlib, sys, warnings
sys.meta_path = [finder for finder in sys.meta_path if "Editable" not in str(finder)]
sys.path.insert(0, {site!r})
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import torch, fastlstm
assert fastlstm.__file__.startswith({site!r}), fastlstm.__file__
said = [str(w.message) for w in caught if "fastlstm" in str(w.message)]
assert len(said) == 1 and "without its C++ kernels" in said[0] and "aten" in said[0], said
lstm = fastlstm.LSTM(4, 6, 2)
theirs = torch.nn.LSTM(4, 6, 2)
theirs.load_state_dict(lstm.state_dict())
x = torch.randn(5, 3, 4)
assert torch.equal(lstm(x)[0], theirs(x)[0])
lstm(x)[0].sum().backward()
fastlstm.LSTM(4, 6, zoneout=0.1)(x)
lstm(x, lengths=torch.tensor([5, 3, 1]))
try:
    fastlstm.LSTM(4, 6, backend="cpu")(x)
except RuntimeError as error:
    assert "cannot be imported" in str(error), error
else:
    raise AssertionError("took the kernels that are not there")
from fastlstm.cli import main
run = {site!r} + "/run"
sizes = "--hidden 8 --batch 2 --window 10 --steps 4 --threads 1".split()
assert main(["train", {text!r}, *sizes, "--cache", {site!r} + "/cache", "--out", run]) == 0
assert main(["sample", run, "--length", "5"]) == 0
"""


def test_install_without_a_compiler_runs_on_torch_with_one_warning(plain, tmp_path):
    (tmp_path / "x.txt").write_text("the quick brown fox\n" * 100)
    code = USE.format(site=str(plain), text=str(tmp_path / "x.txt"))
    done = run_python(code, PYTHONPATH=os.pathsep.join(sys.path[1:]), PYTHONSAFEPATH="1")
    assert done.returncode == 0, done.stderr[-2000:]


def test_what_a_user_installs_is_a_range_that_holds_what_was_tested():
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [*PROJECT["project"]["dependencies"], *extras["train"], *extras["gpu"]]
    for requirement in map(Requirement, wanted):
        assert requirement.specifier, f"{requirement} has no version"
        assert "==" not in str(requirement.specifier), f"{requirement} is one version"
        assert Version(PINS[requirement.name]) in requirement.specifier


def test_all_that_tests_need_is_pinned():
    pins = {re.sub(r"[-_.]+", "-", name).lower() for name in PINS}
    extras = PROJECT["project"]["optional-dependencies"]
    for requirement in map(Requirement, extras["dev"]):
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert name in pins | {"fastlstm"}, f"{name}: pin it in constraints.txt"
    assert all(re.fullmatch(r"[\w.+-]+==[\w.+]+", line) for line in LINES if line[:1] != "#")


def test_wheels_are_for_the_pythons_that_are_promised():
    wheels = PROJECT["tool"]["cibuildwheel"]
    oldest = PROJECT["project"]["requires-python"].removeprefix(">=").replace(".", "")
    assert wheels["build"][0] == f"cp{oldest}-*"
    assert "--exclude libgomp.so.1" in wheels["linux"]["repair-wheel-command"]
