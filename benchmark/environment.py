"""What a cell ran on: versions, hardware, threads and the state of the code."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmark import ROOT

PACKAGES = (
    "numpy", "scikit-learn", "scikit-learn-intelex", "lightgbm", "torch", "terratorch", "segmentation-models-pytorch",
    "timm", "torchgeo", "lightning", "peft", "umap-learn", "optuna", "mlflow", "xarray", "zarr", "satpy", "scipy",
    "numba", "safetensors", "torchvision", "transformers",
)  # fmt: skip

WORKERS = "NEPHOSCOPE_WORKERS"  # environment variable: how many cells this machine may be running at the same time


def describe(device: str) -> dict[str, Any]:
    """Return the environment of this process, as plain values."""
    import psutil

    return {
        "python": platform.python_version(),
        "host": platform.node(),
        "platform": platform.platform(terse=True),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "cpu": _cpu(),
        "kernels": _kernels(),
        "pools": _pools(),
        "cores": psutil.cpu_count(logical=False) or os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS") or os.cpu_count(),
        "memory": psutil.virtual_memory().total,
        "workers": int(os.environ.get(WORKERS, "1")),
        "load": os.getloadavg()[0],
        "device": _device(device),
        **commit(),
    }


@cache
def commit() -> dict[str, Any]:
    """Return the commit and whether the tree differs from it, also by files git does not know; "" and None: no git."""

    def git(*args: str) -> str | None:
        done = subprocess.run(["git", "-C", str(ROOT), *args], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        head, changes = git("rev-parse", "HEAD"), git("status", "--porcelain")
    except FileNotFoundError:  # no git on this machine
        head = changes = None
    return {"commit": head or "", "dirty": None if changes is None else bool(changes)}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    """Return the processor's name."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return names[0].split(":", 1)[1].strip() if names else platform.processor()


def _kernels() -> str:
    """Return the instruction set that PyTorch's kernels use; another one rounds otherwise. "" without PyTorch."""
    torch = sys.modules.get("torch")
    return str(torch.backends.cpu.get_cpu_capability()) if torch is not None else ""


def _pools() -> dict[str, str]:
    """Return, by name, the libraries with threads of their own that are loaded: version, kernels and threads.

    Their number of threads and the instruction set of BLAS decide in which order sums are made.
    """
    from threadpoolctl import threadpool_info

    said = ("version", "architecture", "threading_layer")
    found: dict[str, set[str]] = {}  # NumPy's and SciPy's libraries have one name
    for pool in threadpool_info():
        told = [str(pool[name]) for name in said if pool.get(name)]
        found.setdefault(pool["prefix"], set()).add(", ".join([*told, f"threads {pool['num_threads']}"]))
    return {name: "; ".join(sorted(found[name])) for name in sorted(found)}


def _device(device: str) -> dict[str, Any]:
    """Return the name, driver and memory of the accelerator; only its kind on a CPU."""
    if not device.startswith("cuda"):
        return {"kind": "cpu"}
    import pynvml
    import torch

    properties = torch.cuda.get_device_properties(device)
    pynvml.nvmlInit()
    return {
        "kind": "cuda",
        "name": properties.name,
        "memory": properties.total_memory,
        "driver": pynvml.nvmlSystemGetDriverVersion(),
        "cuda": torch.version.cuda,
    }
