"""Build of the C++ extension and its per-ISA flags; everything else is in pyproject.toml."""

import platform
import shutil
from pathlib import Path

from pybind11.setup_helpers import ParallelCompile, Pybind11Extension, build_ext
from setuptools import setup

X86 = platform.machine() in ("x86_64", "AMD64")
# GCC 12 warns of its own AVX-512 header (bug 105593).
AVX512 = [
    "-march=x86-64-v4",
    "-mprefer-vector-width=512",
    "-Wno-uninitialized",
    "-Wno-maybe-uninitialized",
]
AVX512_BF16 = [*AVX512, "-mavx512bf16", "-mavx512vnni"]
ISA_FLAGS = {
    "avx2": ["-march=x86-64-v3"],
    "avx512": AVX512,
    "avx512bf16": AVX512_BF16,
    # Nothing throws in it; a destructor would bring a weak symbol, of who catches exceptions.
    "amx": [*AVX512_BF16, "-mamx-tile", "-mamx-bf16", "-fno-exceptions"],
}


def isa_of(path):
    """The instruction set that a file is compiled for: `lstm_avx2.cpp` -> `avx2`."""
    return Path(path).stem.rpartition("_")[2]


class BuildExt(build_ext):
    """build_ext that compiles `*_<isa>.cpp` with that ISA's flags, and every other file without.

    Where there is no compiler it leaves the kernels out: PyTorch's own LSTM runs in their place.
    """

    def build_extensions(self):
        compiler = self.compiler.compiler_cxx[0]
        if shutil.which(compiler) is None:
            self.warn(
                f"there is no C++ compiler {compiler!r} here: fastlstm is without its kernels"
            )
            for extension in self.extensions:
                extension.optional = True  # so that nobody looks for it
            return
        compile_one = self.compiler._compile  # the hook torch.utils.cpp_extension uses too

        def compile_with_isa(obj, src, ext, cc_args, postargs, pp_opts):
            flags = [*postargs, *ISA_FLAGS.get(isa_of(src), [])]
            compile_one(obj, src, ext, cc_args, flags, pp_opts)

        self.compiler._compile = compile_with_isa
        super().build_extensions()


sources = sorted(str(p) for p in Path("csrc").rglob("*.cpp"))
headers = sorted(str(p) for ext in ("*.h", "*.inl") for p in Path("csrc").rglob(ext))

ParallelCompile("FASTLSTM_BUILD_JOBS", default=0).install()
setup(
    ext_modules=[
        Pybind11Extension(
            "fastlstm._C",
            [p for p in sources if X86 or isa_of(p) not in ISA_FLAGS],
            depends=headers,
            include_dirs=["csrc"],
            cxx_std=17,
            # Never -ffast-math: linking with it sets flush-to-zero for the whole process.
            extra_compile_args=[
                "-O3",
                "-fno-math-errno",
                "-fno-trapping-math",
                "-ffp-contract=fast",
                "-fopenmp",
                "-Wall",
            ],
            extra_link_args=["-fopenmp"],
        )
    ],
    cmdclass={"build_ext": BuildExt},
)
