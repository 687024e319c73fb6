"""A small UNet trained from scratch: what a foundation model has to beat."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmark.api import Context, Images, Part, Row, Trial


@dataclass
class SmallUNet:
    """UNet of depth 4 with Dice loss; 4.4 M parameters at the default width.

    Attributes:
        lr: learning rate of AdamW.
        weight_decay: of AdamW.
        base: channels of the finest level; 20 gives 3.0 M parameters, 24 gives 4.4 M, 32 gives 7.8 M.
        dropout: share of channels dropped at the coarsest level.
        schedule: of the learning rate, "constant" or "cosine".
        warmup: share of the steps in which the learning rate rises.
    """

    lr: float = 1e-3
    weight_decay: float = 1e-2
    base: int = 24
    dropout: float = 0.0
    schedule: str = "constant"
    warmup: float = 0.0

    def fit(self, train: Part, val: Part, ctx: Context) -> None:
        """Train on `train`, bands standardised by its own statistics; `val` chooses the epoch."""
        from models import _loop, _train

        mean, std = _train.band_statistics(train.images)
        self.scale_ = {"mean": mean, "std": std}
        with _train.seeded(ctx.seed):
            self.build_network()
        self.parameters_ = _train.count_parameters(self.network_)
        seen, judged = (
            _train.Samples(len(part), _train.image_inputs(part.images), part.masks) for part in (train, val)
        )
        learning = _train.Learning(self.lr, self.weight_decay, self.schedule, self.warmup)
        _loop.train(self.network_, seen, judged, ctx, learning)

    def build_network(self) -> None:
        """Make the untrained network in `network_`."""
        from torch import nn

        from models import _train, _unet

        network = _unet.UNet(len(self.scale_["mean"]), self.base, self.dropout)
        self.network_ = nn.Sequential(_train.Scale(**self.scale_), network)

    def predict(self, images: Images, ctx: Context) -> np.ndarray:
        """Return the cloud probability, (n, y, x) float32."""
        from models import _train

        return _train.predict(self.network_, _train.image_inputs(images), len(images), ctx)


def space(trial: Trial) -> dict[str, Any]:
    """Return the fields that tuning changes."""
    return {
        "lr": trial.suggest_float("lr", 1e-4, 1e-2, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-4, 1e-1, log=True),
        "base": trial.suggest_categorical("base", [20, 24, 32]),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
    }


ROWS = (Row("unet", "cnn", SmallUNet, space=space, needs=("torch", "lightning")),)
COSINE = replace(
    ROWS[0],
    name="unet+cosine",
    params={"schedule": "cosine", "warmup": 0.05},
    note="the learning rate rises over 5% of the steps and falls to 0 on a cosine",
)
NAMES = "unet+cosine: the learning rate falls on a cosine"


def resolve(name: str) -> Row | None:
    """Return the row that is not enumerated, None for any other name."""
    return COSINE if name == COSINE.name else None
