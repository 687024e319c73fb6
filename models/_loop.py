"""The one training loop of every network, run by Lightning: epochs, the best of them, and the unfinished fit."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from benchmark.api import Context, NotRun, UserError
from models import _loop_checkpoint as checkpoint
from models import _train, _trainer
from models._gauge import Gauge
from models._loop_checkpoint import Progress
from models._loop_step import Stepper, generators, make_optimiser, make_schedule, set_generators
from models._train import Learning, Samples

TIMED = 3  # steps after which the time of a fit is foretold
Batch = tuple[tuple[np.ndarray, ...], np.ndarray]


def train(network: nn.Module, seen: Samples, val: Samples, ctx: Context, learning: Learning) -> None:
    """Train for ctx.budget.epochs * ceil(n / batch) steps and leave the epoch with the best val score in place.

    A fit that was killed goes on from its checkpoint in ctx.training. On a CPU two fits with one seed give the same
    bits, whether killed or not, as long as the number of threads stays. On CUDA they agree to within rounding: the
    backward passes of interpolation and padding add in any order there, and their deterministic forms are not asked
    for. Nothing is compiled: on a CPU torch.compile took minutes for the small UNet and its steps became no faster.

    Args:
        network: its arguments are the arrays of `Samples.inputs`, its answer logits (n, 2, y, x).
        seen: patches to learn from.
        val: patches to choose the epoch on.
        ctx: seed, device, budget, score, report, fact, training and seconds.
        learning: what is free in the loop.

    Raises:
        UserError: patches that are not square cannot be turned, or the schedule is unknown.
        NotRun: the fit is sure to take longer than ctx.seconds, or a patch alone does not fit the device's memory.
    """
    _check_square(seen, ctx)
    _train.place(network, ctx.device)
    with _train.seeded(ctx.seed, ctx.device):
        best = _fit(network, seen, val, ctx, learning)
    if best is not None:
        network.load_state_dict(best, strict=False)
    _train.place(network, ctx.device).eval()


def _check_square(seen: Samples, ctx: Context) -> None:
    rows, columns = seen.masks(np.array([0])).shape[1:]
    if ctx.budget.orientations != 1 and rows != columns:
        raise UserError(f"patches of {rows} x {columns} pixels cannot be turned: set orientations to 1")


def _fit(network: nn.Module, seen: Samples, val: Samples, ctx: Context, learning: Learning) -> dict[str, Tensor] | None:
    """Train the network and return what it had learned at the best epoch, None where no score was a number."""
    loop = Loop(network, seen, val, ctx, learning)
    loop.resume()
    if not loop.finished:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Found .* in eval mode at the start of training")  # frozen parts are
            warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated")
            _trainer.quiet(ctx, loop.epochs - loop.progress.epoch).fit(loop, Batches(loop))
    for name, value in loop.gauge.facts(_train.precision(ctx.device)).items():
        ctx.fact(name, value)
    if ctx.training:
        checkpoint.remove(ctx.training)
    return loop.progress.best


@dataclass
class Batches:
    """The batches of one epoch after another: patches in a random order, each in a random orientation."""

    loop: Loop

    def __len__(self) -> int:
        return self.loop.batches

    def __iter__(self) -> Iterator[Batch]:
        """Go through one epoch; steps that were taken before a checkpoint are drawn again and left out."""
        loop, generator = self.loop, self.loop.generator
        loop.progress.order, done = generator.get_state(), loop.progress.taken
        order = torch.randperm(loop.seen.count, generator=generator).numpy()
        for number, rows in enumerate(_train.batches(order, loop.ctx)):
            elements = torch.randint(loop.ctx.budget.orientations, (len(rows),), generator=generator).numpy()
            if number >= done:
                yield loop.seen.inputs(rows, elements), _train.turn_each(loop.seen.masks(rows), elements)


class Loop(LightningModule):
    """One fit: Lightning calls the hooks, the step is a `Stepper`'s."""

    def __init__(self, network: nn.Module, seen: Samples, val: Samples, ctx: Context, learning: Learning) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network, self.seen, self.val, self.ctx, self.learning = network, seen, val, ctx, learning
        self.epochs, self.batches = ctx.budget.epochs, -(-seen.count // ctx.budget.batch)
        self.optimiser = make_optimiser(network, learning)
        self.schedule = make_schedule(self.optimiser, learning, self.epochs * self.batches)
        self.gauge = Gauge(ctx.device, self.epochs * self.batches)
        self.stepper = Stepper(network, self.optimiser, ctx, self.gauge, ctx.budget.batch)
        self.generator = torch.Generator().manual_seed(ctx.seed)
        self.progress = Progress()
        self.begun = self.saved = time.monotonic()

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or patience is at its end."""
        return self.progress.epoch >= self._last_epoch()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser, for Lightning."""
        return self.optimiser

    def on_train_epoch_start(self) -> None:
        """Let what learns learn, and nothing else drift."""
        _train.train_mode(self.network)

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Take one optimiser step."""
        self.progress.losses.append(self.stepper.step(*batch))
        self.progress.taken += 1
        if self.schedule:
            self.schedule.step()
        if self.gauge.taken == TIMED:
            self._check_time()
        if self.trainer.received_sigterm:  # which Lightning would heed at the end of the epoch
            self.save()
            raise SystemExit(143)
        self._save_if_due()

    def on_train_epoch_end(self) -> None:
        """Judge on the validation patches, report, and stop if it has not become better for too long."""
        done = self.progress
        score, val_loss = _train.judge(self.network, self.val, self._in_pieces())
        if score > done.best_score:
            done.best, done.best_score, done.best_epoch = _train.learned_state(self.network), float(score), done.epoch
        train_loss = float(np.mean([float(loss) for loss in done.losses]))
        self.gauge.settle()
        done.curves.append({"train_loss": train_loss, "val_loss": val_loss, "score": float(score)})
        self.ctx.report(done.epoch, **done.curves[-1])
        done.epoch, done.taken, done.losses, done.order = done.epoch + 1, 0, [], self.generator.get_state()
        self.trainer.should_stop = self.finished
        if not self.finished:
            self._save_if_due()

    def _save_if_due(self) -> None:
        if time.monotonic() - self.saved > checkpoint.SECONDS:
            self.save()

    def save(self) -> None:
        """Write a checkpoint, if checkpoints are kept; the time that this takes is not time since the last."""
        if not self.ctx.training:
            return
        losses = [float(loss) for loss in self.progress.losses]
        seconds = self.progress.seconds + time.monotonic() - self.begun
        state = {
            "progress": {**vars(self.progress), "losses": losses, "seconds": seconds},
            "network": _train.learned_state(self.network),
            "parts": {name: part.state_dict() for name, part in self._parts().items()},
            "generators": generators(self.ctx.device),
            "micro": self.stepper.micro,
        }
        checkpoint.write(self.ctx.training, self._key, state)
        self.saved = time.monotonic()

    def resume(self) -> None:
        """Go on from the checkpoint of the same fit, if there is one, and report its finished epochs again.

        The seconds that were spent before become the fact resumed_s.
        """
        if not self.ctx.training:
            return
        facts = self.ctx.device.split(":")[0], self.seen.count, self.val.count
        self._key = checkpoint.key_of(self.network, self.learning, self.ctx.seed, self.ctx.budget, facts)
        state = checkpoint.read(self.ctx.training, self._key)
        if state is not None:
            self._load(state)
            self.ctx.fact("resumed_s", self.progress.seconds)
            for epoch, values in enumerate(self.progress.curves):
                self.ctx.report(epoch, **values)

    def _load(self, state: dict[str, Any]) -> None:
        self.progress = Progress(**state["progress"])
        self.network.load_state_dict(state["network"], strict=False)
        for name, part in self._parts().items():
            part.load_state_dict(state["parts"][name])
        set_generators(self.ctx.device, state["generators"])
        self.generator.set_state(self.progress.order)
        self.stepper.micro = state["micro"]
        self.stepper.tell()
        self.gauge.steps -= self.progress.epoch * self.batches + self.progress.taken

    def _parts(self) -> dict[str, Any]:
        """Return what has a state besides the network."""
        parts = {"optimiser": self.optimiser, "scaler": self.stepper.scaler, "schedule": self.schedule}
        return {name: part for name, part in parts.items() if part is not None}

    def _last_epoch(self) -> int:
        """Return how many epochs there are if validation does not become better."""
        patience = self.learning.patience
        return min(self.epochs, self.progress.best_epoch + 1 + patience) if patience else self.epochs

    def _in_pieces(self) -> Context:
        """Return the context with the batch that the device's memory is large enough for."""
        return replace(self.ctx, budget=replace(self.ctx.budget, batch=self.stepper.micro))

    def _check_time(self) -> None:
        """Foretell how long the fit takes at least, from the typical full step.

        Raises:
            NotRun: that is longer than ctx.seconds.
        """
        typical = self.gauge.typical()
        if typical is None:
            return
        patches, step, forward = typical
        steps = self.gauge.steps - (self.epochs - self._last_epoch()) * self.batches
        seconds = steps / self.batches * (self.seen.count * step + self.val.count * forward) / patches
        if seconds > self.ctx.seconds:
            raise NotRun(
                f"a step takes {step:.2g} s and {steps} steps with validation would take about {seconds:.0f} s, more "
                f"than the {self.ctx.seconds:.0f} s that this profile leaves: take fewer epochs or patches, or another "
                "profile"
            )
