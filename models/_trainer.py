"""The Lightning Trainer of the training loop and of pretraining: one device, and not a word."""

from __future__ import annotations

import logging
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.plugins.environments import LightningEnvironment

from benchmark.api import Context


def quiet(ctx: Context, epochs: int, **options: Any) -> Trainer:
    """Return a Trainer that says nothing, and writes nothing unless `options` has it write."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    kind, _, number = ctx.device.partition(":")
    return Trainer(
        accelerator="gpu" if kind == "cuda" else "cpu",
        devices=[int(number or 0)] if kind == "cuda" else 1,
        plugins=[LightningEnvironment()],  # a cluster's job may run the benchmark, but does not share a fit out
        max_epochs=epochs,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **{"enable_checkpointing": False, **options},
    )
