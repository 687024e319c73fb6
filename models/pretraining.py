"""Masked-autoencoder pretraining of a Prithvi on patches without labels: what the verb `pretrain` runs; no rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.api import HLS_ROLES, Context, Images, UserError, code, digest

# What decides the weights besides the fields: method, loop, precision, schedule, scale, random numbers, time and place.
_NAMES = ("pretraining", "_mae", "_prithvi", "_train", "_trainer", "_loop_step", "_encoder")
FILES = tuple(Path(__file__).with_name(f"{name}.py") for name in _NAMES)


@dataclass
class MaskedAutoencoder:
    """TerraTorch's own Prithvi autoencoder, from random weights.

    Attributes:
        backbone: name in TerraTorch's registry.
        mask_ratio: share of tokens that the encoder does not see.
        lr: highest learning rate of AdamW.
        weight_decay: of AdamW, on matrices alone.
        warmup: share of the steps in which the learning rate rises from 0; then it falls back on a cosine.
    """

    backbone: str = "prithvi_eo_v2_tiny_tl"
    mask_ratio: float = 0.75
    lr: float = 3e-4
    weight_decay: float = 0.05
    warmup: float = 0.1

    @property
    def fingerprint(self) -> str:
        """Hash of the fields and of the code that the weights come from."""
        return digest(self.backbone, self.mask_ratio, self.lr, self.weight_decay, self.warmup, code(*FILES))

    def check(self) -> None:
        """Raise UserError where there is no such backbone, or all or nothing would be hidden."""
        from models import _prithvi

        _prithvi.check(self.backbone)
        if not 0 < self.mask_ratio < 1:
            raise UserError(f"the share that is hidden lies between 0 and 1, and {self.mask_ratio} was given")

    def fit(self, train: Images, val: Images, ctx: Context) -> None:
        """Learn from `train` for ctx.budget.epochs; leave one dict an epoch in `history_`, losses on both included.

        What was begun in ctx.training goes on from its last epoch.

        Args:
            train: patches with the bands of HLS_ROLES, in that order.
            val: patches of other scenes; they choose nothing.
            ctx: seed, device, budget, report and training.

        Raises:
            UserError: no such backbone, or patches that it cannot take.
            NotRun: the backbone takes time and place, and a patch has none.
        """
        from models import _mae, _train

        self.check()
        for images in (train, val):
            if tuple(band.role for band in images.bands) != HLS_ROLES:
                raise UserError(f"pretraining needs the bands {', '.join(HLS_ROLES)}, in this order")
            _mae.check_images(self.backbone, images)
        learning = _train.Learning(self.lr, self.weight_decay, "cosine", self.warmup)
        self.module_ = _mae.Pretraining(self.backbone, train.bands, self.mask_ratio, learning, ctx)
        _mae.train(self.module_, train, val)
        self.history_ = self.module_.history

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the weights by the names that they have on the hub: `encoder.*` and `decoder.*`."""
        state = self.module_.model.state_dict()
        return {name: value.detach().cpu().contiguous().numpy() for name, value in state.items()}

    def reconstruct(self, images: Images, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what the decoder makes of each patch, (n, b, y, x) reflectance, and what was hidden, (n, y, x) bool.

        Args:
            images: with the bands that it was trained on.
            seed: of what is hidden.
        """
        from models import _mae

        return _mae.reconstruct(self.module_, images, seed)


ROWS = ()
PRETRAIN = MaskedAutoencoder
