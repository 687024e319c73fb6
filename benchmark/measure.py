"""Time, memory and energy of a phase; the only module that asks a device for them.

What a device cannot say is None, never 0. PyTorch's counters leave out the CUDA context and other libraries' memory;
`vram_process` (NVML) holds them.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass
class Meter:
    """Laps, memory peaks and energy of one cell.

    Attributes:
        device: torch device; its work is waited for before a clock is read.
        laps: phase -> seconds of each lap; on CUDA `<phase>_cuda` holds CUDA-event times as well.
        memory: bytes, see `record.Record.memory`.
        energy: phase -> joules.
    """

    device: str = "cpu"
    laps: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[str, int | None] = field(default_factory=dict)
    energy: dict[str, float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.memory["rss_start"] = _rss()
        self.memory |= dict.fromkeys(("vram_allocated", "vram_reserved", "vram_process"))

    @property
    def cuda(self) -> bool:
        """Whether the device is a CUDA one."""
        return self.device.startswith("cuda")

    def clock(self) -> float:
        """Return seconds, with the device's work finished."""
        if self.cuda:
            _torch().cuda.synchronize(self.device)
        return time.perf_counter()

    @contextmanager
    def lap(self, phase: str) -> Iterator[None]:
        """Time the block as one lap of a phase."""
        start = self.clock()
        events = self._events()
        yield
        if events:
            events[1].record(_torch().cuda.current_stream(self.device))
        self.laps.setdefault(phase, []).append(self.clock() - start)
        if events:
            self.laps.setdefault(f"{phase}_cuda", []).append(events[0].elapsed_time(events[1]) / 1000)

    @contextmanager
    def peaks(self, phase: str) -> Iterator[None]:
        """Measure peak memory and energy of the block as those of a phase."""
        gc.collect()  # what an earlier trial left must not count here
        _reset_rss_peak()
        if self.cuda:
            _torch().cuda.empty_cache()
            _torch().cuda.reset_peak_memory_stats(self.device)
        before = _joules(self.device)
        yield
        self.memory[f"rss_{phase}"] = _rss_peak()
        after = _joules(self.device)
        self.energy[phase] = None if before is None or after is None else after - before
        if self.cuda:
            self._device_peaks()

    def _events(self) -> tuple[Any, Any] | None:
        """Return a recorded start event and an end event of the device, None without one."""
        if not self.cuda:
            return None
        start, end = (_torch().cuda.Event(enable_timing=True) for _ in range(2))
        start.record(_torch().cuda.current_stream(self.device))
        return start, end

    def _device_peaks(self) -> None:
        """Keep the largest device memory seen in any phase."""
        cuda = _torch().cuda
        now = {
            "vram_allocated": cuda.max_memory_allocated(self.device),
            "vram_reserved": cuda.max_memory_reserved(self.device),
            "vram_process": _process_memory(self.device),
        }
        for name, value in now.items():
            known = [v for v in (self.memory[name], value) if v is not None]
            self.memory[name] = max(known, default=None)


def warm_up(device: str) -> None:
    """Start the device and PyTorch's thread pool, so that the first method does not pay for it."""
    if "torch" not in sys.modules:
        return
    torch = _torch()
    image = torch.ones(1, 8, 64, 64, device=device, requires_grad=True)
    torch.nn.Conv2d(8, 8, 3, device=device)(image).sum().backward()


@cache
def cuda_devices() -> int:
    """Return the number of CUDA devices that PyTorch can use; where there is no NVIDIA driver, without importing it."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return 0
    # In a process of its own: this one stays light, and may fork.
    ask = [sys.executable, "-c", "import torch; print(torch.cuda.device_count())"]
    return int(subprocess.run(ask, capture_output=True, text=True, check=True).stdout)


def _torch() -> Any:
    import torch

    return torch


def _handle(device: str) -> Any:
    """Return NVML's handle of a torch device; CUDA_VISIBLE_DEVICES renumbers, so go by UUID."""
    import pynvml

    pynvml.nvmlInit()
    uuid = _torch().cuda.get_device_properties(device).uuid
    return pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")


def _joules(device: str) -> float | None:
    """Return the energy counter of the device, None where there is no device or it does not count."""
    if not device.startswith("cuda"):
        return None
    import pynvml

    try:
        return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(_handle(device))) / 1000
    except pynvml.NVMLError:
        return None


def _process_memory(device: str) -> int | None:
    """Return this process's memory on the device as NVML sees it, None where it does not (containers, MIG)."""
    import pynvml

    try:
        processes = pynvml.nvmlDeviceGetComputeRunningProcesses(_handle(device))
    except pynvml.NVMLError:
        return None
    return next((p.usedGpuMemory for p in processes if p.pid == os.getpid()), None)


def _rss() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)


def _reset_rss_peak() -> None:
    """Start the kernel's high-water mark anew (Linux); elsewhere the mark is that of the whole process."""
    if _CLEAR.exists():
        _CLEAR.write_text("5")


def _rss_peak() -> int:
    """Return the peak resident memory in bytes since the last reset."""
    if _STATUS.exists():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
