"""What a figure depends on besides the work: the machine and the versions."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import fastlstm
from fastlstm import backends
from fastlstm.backends.triton.precision import uses_tf32


def conditions(device: str) -> dict[str, Any]:
    """The fields of `Row` from `device` on, as they are now."""
    now = datetime.now().astimezone()
    cpu = backends.get("cpu").module
    cudnn = torch.backends.cudnn.version() if device == "cuda" else None  # type: ignore[no-untyped-call]
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else cpu_model(),
        "cpu": cpu_model(),
        "load": os.getloadavg()[0],
        "tf32": uses_tf32(device, torch.float32),
        "threads": torch.get_num_threads(),
        "cpu_isa": "none" if isinstance(cpu, ImportError) else cpu.isa(),
        "clock_mhz": gpu_clock() if device == "cuda" else cpu_clock(),
        "torch": torch.__version__,
        "triton": _version("triton"),
        "cudnn": str(cudnn or ""),
        "onednn": onednn_version(),
        "fastlstm": fastlstm.__version__,
        "commit": commit(),
        "date": now.date().isoformat(),
        "run": now.isoformat(timespec="seconds"),
    }


def describe(where: dict[str, Any]) -> str:
    """The conditions as one line for people; what is not known is left out."""
    parts = [f"{where['device']}, {where['threads']} threads, {where['cpu_isa']}"]
    if where["clock_mhz"]:
        parts.append(f"{where['clock_mhz'] / 1000:.2f} GHz")
    names = ("torch", "triton", "cudnn", "onednn", "fastlstm", "commit")
    parts += [f"{name} {where[name]}" for name in names if where[name]]
    return ", ".join([*parts, where["date"]])


def cpu_model() -> str:
    """The processor's name."""
    found = re.search(r"model name\s*:\s*(.+)", _cpuinfo())
    return " ".join(found[1].split()) if found else platform.machine()


def cpu_clock() -> float | None:
    """The fastest core's clock in MHz just now, if the system tells."""
    clocks = re.findall(r"cpu MHz\s*:\s*([\d.]+)", _cpuinfo())
    return max(map(float, clocks)) if clocks else None


def gpu_clock() -> float | None:
    """The GPU's clock in MHz just now, if nvidia-smi tells."""
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    query = ["nvidia-smi", "--query-gpu=clocks.sm", "--format=csv,noheader,nounits"]
    text = _output([*query, f"--id=GPU-{properties.uuid}"]).partition("\n")[0]
    return float(text) if text.strip().isdecimal() else None


def onednn_version() -> str:
    """The version of oneDNN that torch was built with."""
    found = re.search(r"MKL-DNN v([\d.]+)", torch.__config__.show())
    return found[1] if found else ""


def commit() -> str:
    """The commit of the checkout that this package runs from, "-dirty" if changed since.

    An installed copy has no checkout: there the environment variable FASTLSTM_COMMIT may say it.
    """
    root = Path(fastlstm.__file__).parent.parent
    if not (root / ".git").exists():
        return os.environ.get("FASTLSTM_COMMIT", "")
    # results are written into the checkout while it is measured: they change no figure
    paths = ["--", "csrc", "fastlstm", "setup.py"]
    head = _output(["git", "-C", str(root), "rev-parse", "--short=10", "HEAD"]).strip()
    changed = _output(["git", "-C", str(root), "status", "--porcelain", *paths]).strip()
    return head + "-dirty" * bool(changed)


def slug(text: str) -> str:
    """A name as part of a file's name."""
    return re.sub(r"[^a-z0-9.]+", "-", re.sub(r"\(\w+\)", " ", text.lower())).strip("-")


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else ""


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
