"""TerraTorch's Prithvi autoencoder in a Lightning loop: the same weights from a seed, interrupted or not."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import ModelCheckpoint
from terratorch.models.backbones import prithvi_vit
from terratorch.models.backbones.prithvi_mae import PrithviMAE
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from benchmark.api import Band, Context, Images, UserError
from models import _prithvi, _scales, _train, _trainer
from models._encoder import known_coordinates
from models._loop_step import make_schedule

BETAS = (0.9, 0.95)  # He et al. 2022, masked autoencoders
CLIP = 1.0  # norm of the gradient: the first steps of a new network are the steepest
# Share of steps without time, and as many without place: rows use the encoder with and without them. The makers of
# Prithvi-EO-2.0 dropped them as well (share not known).
DROPPED = 0.5
CHECKPOINT = "last"

Batch = list[Tensor]


def check_images(backbone: str, images: Images) -> None:
    """Raise UserError where images are of a size or in a unit that the backbone cannot take."""
    rows, columns = images.shape[2:]
    _, high, wide = prithvi_vit.prithvi_cfgs[backbone]["patch_size"]
    if rows % high or columns % wide:
        raise UserError(f"{backbone} takes patches of multiples of {high} pixels, and these are {rows} x {columns}")
    _scales.gate(images, _prithvi.statistics(backbone, images.bands))


class Pretraining(LightningModule):
    """The autoencoder of one frame, its optimiser, and the losses of each epoch."""

    def __init__(
        self, backbone: str, bands: Sequence[Band], mask_ratio: float, learning: _train.Learning, ctx: Context
    ) -> None:
        super().__init__()
        config = prithvi_vit.prithvi_cfgs[backbone]
        own = _prithvi.statistics(backbone, bands)
        self.mask_ratio, self.learning, self.ctx = mask_ratio, learning, ctx
        self.coordinates = bool(config["coords_encoding"])
        self.scale = _train.Scale(list(own.mean), list(own.std))
        with _train.seeded(ctx.seed):
            self.model = PrithviMAE(**{**config, "num_frames": 1})
        self.history: list[dict[str, float]] = []
        self._losses: dict[str, list[Tensor]] = {"train": [], "val": []}

    def forward(self, batch: Batch, seed: int, drop: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
        """Return loss, reconstruction (n, b, y, x) and what was hidden (n, y, x), both drawn from `seed`.

        Args:
            batch: toa and, where the backbone takes them, time and place.
            seed: of what is hidden and of what is dropped.
            drop: chance that time, and that place, is withheld.
        """
        toa, *known = batch
        with _train.seeded(seed, str(self.device)):
            given = [one if share >= drop else None for one, share in zip(known, torch.rand(2).tolist(), strict=False)]
            loss, made, hidden = self.model(self.scale(toa), *given, mask_ratio=self.mask_ratio)
        return loss["loss"], made, hidden

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Return the loss on a batch; what is hidden depends on seed and step alone, so that a resumed run agrees."""
        loss, _, _ = self(batch, _mixed(self.ctx.seed, self.global_step), DROPPED)
        self._losses["train"].append(loss.detach())
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        """Keep the loss on a batch; in every epoch the same is hidden."""
        loss, _, _ = self(batch, _mixed(self.ctx.seed, index))
        self._losses["val"].append(loss.detach())

    def on_train_epoch_end(self) -> None:
        """Report the mean losses of the epoch; the validation is over by now."""
        losses = {f"{part}_loss": torch.stack(values).mean().item() for part, values in self._losses.items()}
        self._losses = {"train": [], "val": []}
        self.history.append({"epoch": self.current_epoch, **losses})
        self.ctx.report(self.current_epoch, **losses)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the losses so far."""
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Find them again."""
        self.history = checkpoint["history"]

    def configure_optimizers(self) -> Any:
        """Return AdamW and the schedule of `learning`, step by step."""
        matrices = [value for value in self.model.parameters() if value.ndim > 1]
        others = [value for value in self.model.parameters() if value.ndim <= 1]
        groups: list[dict[str, Any]] = [
            {"params": matrices, "weight_decay": self.learning.weight_decay},
            {"params": others},
        ]
        optimiser = torch.optim.AdamW(groups, lr=self.learning.lr, betas=BETAS, weight_decay=0.0, fused=True)
        schedule = make_schedule(optimiser, self.learning, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Order(Sampler[int]):
    """All patches in an order that depends on the seed and the epoch alone."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed, self.epoch = count, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Hear from Lightning which epoch begins."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        return iter(np.random.default_rng([self.seed, self.epoch]).permutation(self.count).tolist())


def train(module: Pretraining, seen: Images, held: Images) -> None:
    """Train for ctx.budget.epochs; go on with what lies in ctx.training."""
    ctx = module.ctx
    options: dict[str, Any] = {"precision": "bf16-mixed" if ctx.device.startswith("cuda") else "32-true"}
    start = None
    if ctx.training:  # the last epoch, and nothing but it, is kept there
        kept = ModelCheckpoint(ctx.training, CHECKPOINT, save_on_train_epoch_end=True, enable_version_counter=False)
        options |= {"callbacks": [kept], "enable_checkpointing": True}
        begun = ctx.training / f"{CHECKPOINT}.ckpt"
        start = begun if begun.is_file() else None
    shuffled, straight = (_loader(part, module.coordinates, ctx, part is seen) for part in (seen, held))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")  # advice on loggers, workers and devices
        trainer = _trainer.quiet(ctx, ctx.budget.epochs, gradient_clip_val=CLIP, **options)
        try:
            trainer.fit(module, shuffled, straight, ckpt_path=start, weights_only=True)
        except SystemExit:  # what Lightning makes of an interrupt
            raise KeyboardInterrupt from None


def _loader(images: Images, coordinates: bool, ctx: Context, shuffled: bool) -> DataLoader:
    known = known_coordinates(images, coordinates)
    return DataLoader(
        range(len(images)),  # type: ignore[arg-type]
        ctx.budget.batch,
        sampler=Order(len(images), ctx.seed) if shuffled else None,
        collate_fn=lambda rows: _read(images, known, np.array(rows)),
    )


def _read(images: Images, known: tuple[np.ndarray, ...], rows: np.ndarray) -> Batch:
    return [torch.from_numpy(array) for array in (images.read(rows), *(one[rows] for one in known))]


@torch.inference_mode()
def reconstruct(module: Pretraining, images: Images, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return reconstructions (n, b, y, x) as reflectance, and what was hidden (n, y, x) bool."""
    module.to(module.ctx.device).eval()
    batch = _read(images, known_coordinates(images, module.coordinates), np.arange(len(images)))
    _, made, hidden = module([one.to(module.device) for one in batch], seed)
    made = made * module.scale.std + module.scale.mean
    return made.float().cpu().numpy(), hidden.bool().cpu().numpy()


def _mixed(seed: int, step: int) -> int:
    """Return a seed for one step: neighbouring seeds and steps share no draws."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0])
