"""One optimiser step, in pieces where the device's memory is too small for the batch; and what sets its size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR

from benchmark.api import Context, NotRun, UserError
from models import _train
from models._gauge import Gauge
from models._train import Learning


def make_optimiser(network: nn.Module, learning: Learning) -> torch.optim.Optimizer:
    """Return AdamW over the parameters that learn; its fused form saves a tenth of a step or more."""
    learners = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(learners, lr=learning.lr, weight_decay=learning.weight_decay, fused=True)


def make_schedule(optimiser: torch.optim.Optimizer, learning: Learning, steps: int) -> LRScheduler | None:
    """Return what changes the learning rate after each step, None where it stays.

    Raises:
        UserError: the schedule is unknown, or the warm-up is no share of the steps.
    """
    if learning.schedule not in ("constant", "cosine") or not 0 <= learning.warmup < 1:
        asked = f"{learning.schedule!r} with {learning.warmup}"
        raise UserError(f"a schedule is constant or cosine with a warm-up from 0 to below 1, not {asked}")
    rise = round(learning.warmup * steps)
    parts: list[LRScheduler] = []
    if rise:
        parts.append(LinearLR(optimiser, start_factor=1 / (rise + 1), total_iters=rise))
    if learning.schedule == "cosine":
        parts.append(CosineAnnealingLR(optimiser, T_max=max(steps - rise, 1)))
    return SequentialLR(optimiser, parts, [rise]) if len(parts) == 2 else next(iter(parts), None)


def generators(device: str) -> list[Tensor]:
    """Return the states of PyTorch's global generators that a fit draws from."""
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.startswith("cuda") else states


def set_generators(device: str, states: list[Tensor]) -> None:
    """Put `generators` back."""
    torch.set_rng_state(states[0])
    if device.startswith("cuda"):
        torch.cuda.set_rng_state(states[1], device)


@dataclass
class Stepper:
    """Takes optimiser steps.

    Where the device's memory is too small for a batch, it goes through the network in smaller pieces whose gradients
    add up; steps and batches stay the same. The loss is then the mean of the pieces' Dice losses weighted by their
    patches, which is not the Dice loss of the batch, and batch normalisation sees pieces.

    Attributes:
        network: in the mode that it is trained in.
        optimiser: of its parameters that learn.
        ctx: device and fact.
        gauge: is told of the phases of each step.
        micro: patches that go through the network at a time.
    """

    network: nn.Module
    optimiser: torch.optim.Optimizer
    ctx: Context
    gauge: Gauge
    micro: int

    def __post_init__(self) -> None:
        kind, half = self.ctx.device.split(":")[0], _train.precision(self.ctx.device) == torch.float16
        self.scaler = torch.amp.GradScaler(kind, enabled=half)  # small gradients vanish in float16

    def step(self, arrays: tuple[np.ndarray, ...], mask: np.ndarray) -> Tensor:
        """Take a step on a batch and return its loss; a step that fails for want of memory starts anew.

        Raises:
            NotRun: the memory is too small for a single patch.
        """
        while True:
            before = [buffer.clone() for buffer in self._drifting()], generators(self.ctx.device)
            try:
                return self._attempt(arrays, mask)
            except torch.cuda.OutOfMemoryError:
                pass  # what the failed attempt holds is free only after this block
            self._take_back(*before)
            self._halve(len(mask))

    def _attempt(self, arrays: tuple[np.ndarray, ...], mask: np.ndarray) -> Tensor:
        self.gauge.begin(len(mask))
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.gauge.count(lambda: self._gradients(arrays, mask))
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.gauge.mark("step")
        return loss

    def _gradients(self, arrays: tuple[np.ndarray, ...], mask: np.ndarray) -> Tensor:
        """Run forward and backward passes, piece by piece, and return the loss."""
        total = torch.zeros((), device=self.ctx.device)
        for start in range(0, len(mask), self.micro):
            piece = slice(start, start + self.micro)
            *inputs, truth = _train.tensors(tuple(array[piece] for array in (*arrays, mask)), self.ctx.device)
            self.gauge.mark("load")
            with _train.autocast(self.ctx.device):
                logits = self.network(*inputs)
            loss = _train.dice_loss(_train.dice_sums(logits, truth)) * (len(truth) / len(mask))
            self.gauge.mark("forward")
            self.scaler.scale(loss).backward()
            self.gauge.mark("backward")
            total += loss.detach()
        return total

    def _drifting(self) -> Iterator[Tensor]:
        """Yield the buffers that a forward pass may change."""
        return (buffer for part in self.network.modules() if part.training for buffer in part.buffers(recurse=False))

    def _take_back(self, buffers: list[Tensor], states: list[Tensor]) -> None:
        """Undo what the forward passes of a failed attempt have changed, and give its memory back."""
        for buffer, value in zip(self._drifting(), buffers, strict=True):
            buffer.copy_(value)
        set_generators(self.ctx.device, states)
        self.optimiser.zero_grad(set_to_none=True)
        self.gauge.forget()
        if self.ctx.device.startswith("cuda"):
            torch.cuda.empty_cache()

    def _halve(self, patches: int) -> None:
        """Halve the pieces of a batch and say so."""
        size = min(self.micro, patches)
        if size == 1:
            raise NotRun("the device's memory is too small to train on a single patch: take a larger one or the CPU")
        self.micro = size // 2
        print(f"the device's memory is too small: {self.micro} patches at a time from now on")
        self.tell()

    def tell(self) -> None:
        """Put the size of the pieces into the record where it is not that of a batch."""
        if self.micro < self.ctx.budget.batch:
            self.ctx.fact("micro_batch", self.micro)
            self.ctx.fact("micro_batch_loss", "mean Dice loss of the micro-batches, not the Dice loss of the batch")
