"""What an optimiser step costs: seconds, device memory by phase, operations, and their share of what the device can."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from statistics import median
from typing import Any, TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode

LONG = 20  # a fit of fewer steps is not worth counting its operations and measuring the device's ceiling
CEILING_SECONDS = 0.2
WATCHED = 1  # the second step: the optimiser's state is there
Answer = TypeVar("Answer")


class Gauge:
    """Marks of the phases of each step; on CUDA they are events, so that no step waits for the device.

    Peaks of device memory are those of the second step of a fit of three or more. They are read by resetting PyTorch's
    counter, so a peak that others read after the fit is that of the steps from the third on.

    Args:
        device: torch device.
        steps: how many are to come.
    """

    def __init__(self, device: str, steps: int) -> None:
        self.device, self.steps = device, steps
        self.cuda = device.startswith("cuda")
        self.flop: int | None = None
        self._counted = 0  # patches of the step whose operations these are
        self.forget()

    def forget(self) -> None:
        """Drop times and peaks so far: from now on steps cost something else."""
        self.vram: dict[str, int] = {}
        self._marks: list[tuple[str, Any]] = []
        self._steps: list[tuple[int, list[tuple[str, Any]]]] = []
        self._seconds: list[tuple[int, float, float]] = []

    @property
    def taken(self) -> int:
        """Number of steps with a time."""
        return len(self._seconds) + len(self._steps)

    def begin(self, patches: int) -> None:
        """Start a step on so many patches."""
        self._patches, self._marks = patches, [("begin", self._now())]
        self._watching = self.cuda and self.steps > WATCHED + 1 and self.taken == WATCHED
        if self._watching:
            torch.cuda.reset_peak_memory_stats(self.device)

    def mark(self, phase: str) -> None:
        """End a phase: load, forward, backward or step; all but the last may come several times a step."""
        self._marks.append((phase, self._now()))
        if self._watching:
            peak = torch.cuda.max_memory_allocated(self.device)
            self.vram[f"vram_{phase}"] = max(peak, self.vram.get(f"vram_{phase}", 0))
            torch.cuda.reset_peak_memory_stats(self.device)
        if phase == "step":
            self._steps.append((self._patches, self._marks))

    def count(self, work: Callable[[], Answer]) -> Answer:
        """Return the answer of forward and backward pass; operations of a long fit's first full step are counted."""
        if self._patches <= self._counted or self.steps < LONG:
            return work()
        with FlopCounterMode(display=False) as counter:
            answer = work()
        self.flop, self._counted = counter.get_total_flops(), self._patches
        return answer

    def typical(self) -> tuple[int, float, float] | None:
        """Return patches, seconds and the forward pass's seconds of a full step, medians without the first step.

        Waits for the device. None before the second step.
        """
        self.settle()
        later = self._seconds[1:]
        full = [one for one in later if one[0] == max(later)[0]]
        return (full[0][0], median(one[1] for one in full), median(one[2] for one in full)) if full else None

    def settle(self) -> None:
        """Turn marks into seconds; waits for the device."""
        if self.cuda and self._steps:
            torch.cuda.synchronize(self.device)
        for patches, marks in self._steps:
            laps = [(phase, self._between(a, b)) for (_, a), (phase, b) in pairwise(marks)]
            forward = sum(lap for phase, lap in laps if phase == "forward")
            self._seconds.append((patches, sum(lap for _, lap in laps), forward))
        self._steps.clear()

    def facts(self, dtype: torch.dtype) -> dict[str, float]:
        """Return step_s, step_flop, flop_per_s, matmul_flop_per_s, mfu and vram_*, those that could be measured.

        Args:
            dtype: what the network's matrix products are computed in.
        """
        typical = self.typical()
        found: dict[str, float] = dict(self.vram)
        if typical:
            found["step_s"] = typical[1]
        if typical and self.flop and typical[0] == self._counted:
            rate, ceiling = self.flop / typical[1], matmul_rate(self.device, dtype)
            found |= {"step_flop": self.flop, "flop_per_s": rate, "matmul_flop_per_s": ceiling, "mfu": rate / ceiling}
        return found

    def _now(self) -> Any:
        """Return a clock reading, or an event in the device's queue."""
        if not self.cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def _between(self, start: Any, end: Any) -> float:
        return start.elapsed_time(end) / 1000 if self.cuda else end - start


@cache
@torch.inference_mode()
def matmul_rate(device: str, dtype: torch.dtype) -> float:
    """Return the FLOP/s of a square matrix product, the best of those that fit into a fifth of a second."""
    side = 4096 if device.startswith("cuda") else 1024
    generator = torch.Generator(device).manual_seed(0)
    a, b = (torch.randn(side, side, generator=generator, device=device).to(dtype) for _ in range(2))
    gauge = Gauge(device, 0)
    start = time.perf_counter()
    while time.perf_counter() - start < CEILING_SECONDS:
        gauge.begin(1)
        torch.mm(a, b)
        gauge.mark("step")
        gauge.settle()
    return 2 * side**3 / min(seconds for _, seconds, _ in gauge._seconds)
