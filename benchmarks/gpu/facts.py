"""What torch sees of a machine: `python benchmarks/gpu/facts.py cuda|cpu`. RuntimeError: no GPU."""

import platform
import sys
from importlib import metadata

import torch


def version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


print(f"{platform.platform()}, {torch.get_num_threads()} threads")
print(f"python {platform.python_version()}, torch {torch.__version__}, CUDA {torch.version.cuda}")
for packages in ("triton numpy matplotlib rich safetensors", "pytest pip setuptools pybind11"):
    print(", ".join(f"{package} {version(package)}" for package in packages.split()))
if sys.argv[1] == "cuda":
    if not torch.cuda.is_available():
        raise RuntimeError("torch sees no CUDA device here")
    gpu = torch.cuda.get_device_properties(0)
    cache = getattr(gpu, "L2_cache_size", 0)
    print(f"{gpu.name}, sm_{gpu.major}{gpu.minor}, {gpu.total_memory / 2**30:.0f} GiB")
    print(f"{gpu.multi_processor_count} multiprocessors, {cache / 2**20:.0f} MiB of L2")
    tf32 = torch.backends.cudnn.rnn.fp32_precision == "tf32"
    print(f"cuDNN {torch.backends.cudnn.version()}, TF32 in its LSTM {tf32}")
