"""The architecture: imports point one way, and importing the package costs nothing it need not."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fastlstm

PACKAGE = Path(fastlstm.__file__).parent
# Each may import only those to its right; `reference` knows none but `noise`.
LAYERS = [
    "__main__", "cli", "bench", "rnnlm", "info", "verify", "verify_cases", "__init__", "convert",
    "exported", "quantization", "lstm", "cell", "scripted", "stream", "widths", "layers", "forms",
    "stacked", "varying", "plan", "ragged", "trace", "identity", "regularization", "flat_weights",
    "tracing", "onnx_node", "step", "functional", "dispatch", "autograd_cell", "autograd", "ops",
    "flops", "operators", "inputs", "eager", "backends", "kept", "_C", "original",
    "reference", "noise", "check_interpreter",
]  # fmt: skip
MODULES = sorted(PACKAGE.rglob("*.py"))


def layer_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_layers(path):
    """The layers of this package that a file imports; a public name counts as the package's."""
    layers = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package == "fastlstm":
                first = rest.partition(".")[0]
                layers.add(first if first in LAYERS else "__init__")
    return layers


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    layer = layer_of(path)
    assert layer in LAYERS, f"{layer}: give it its place in LAYERS"
    above = set(LAYERS[: LAYERS.index(layer)])
    assert not imported_layers(path) & above
    if layer == "reference":
        assert imported_layers(path) == {"noise"}


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if layer_of(path) == "rnnlm"],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_the_trainer_uses_only_the_public_api(path):
    assert imported_layers(path) <= {"__init__", "rnnlm"}


def test_public_names_are_all():
    public = {name for name in vars(fastlstm) if not name.startswith("_")}
    modules = {name for name in public if type(vars(fastlstm)[name]) is type(ast)}
    assert set(fastlstm.__all__) - {"__version__"} <= public
    assert public - modules <= set(fastlstm.__all__) | modules
    for name in fastlstm.__all__:
        assert getattr(fastlstm, name).__doc__, name


def test_import_loads_no_extra():
    extras = ["triton", "rich", "safetensors", "matplotlib", "pandas", "fastlstm.rnnlm"]
    code = (
        "import sys, torch; before = set(sys.modules); import fastlstm\n"
        f"print([m for m in {extras} if m in set(sys.modules) - before])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
