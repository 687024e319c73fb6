"""A foundation model with a segmentation decoder: what learns, and from which start, is a field."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.api import Context, Images, NotRun, Part, Trial
from models._backboned import Backboned

if TYPE_CHECKING:
    from torch import nn

    from models._encoder import Encoder
    from models._train import Samples

KEPT = ("frozen", "head")  # modes in which nothing in the backbone learns, so that its features are kept
# The same for every mode: rows with other needs would start, and import all of this in, a process of their own.
NEEDS = ("torch", "terratorch", "lightning", "peft")


@dataclass
class Foundation(Backboned):
    """Backbone, learned pyramid, UNet decoder and head, trained with Dice loss.

    Attributes:
        backbone: name that `_encoders.build` knows.
        coordinates: whether time and place of each patch go in.
        pretrained: whether the backbone starts from ctx.weights; otherwise it is random, from ctx.seed.
        mode: what learns: "unfrozen" everything; "frozen" neck, decoder and head; "lora" these and low-rank adapters
            in the backbone; "head" neck and head, which is what TerraTorch trains when told to freeze encoder and
            decoder: the decoder keeps its random weights, and its norms go on estimating mean and variance.
        statistics: what standardises the bands: "own" of the backbone's pretraining where it knows the band, "train"
            of the training patches.
        skip: whether the input bands also go past the backbone, at full resolution.
        lr: learning rate of AdamW.
        weight_decay: of AdamW.
        dropout: before the last convolution.
        schedule: of the learning rate, as in `_train.Learning`.
        warmup: share of the steps in which the learning rate rises.
        patience: epochs without a better validation score after which training stops; 0: it never does.
    """

    backbone: str = "prithvi_eo_v2_300"
    coordinates: bool = False
    pretrained: bool = True
    mode: str = "frozen"
    statistics: str = "own"
    skip: bool = False
    lr: float = 1e-4
    weight_decay: float = 1e-2
    dropout: float = 0.1
    schedule: str = "constant"
    warmup: float = 0.0
    patience: int = 0

    def fit(self, train: Part, val: Part, ctx: Context) -> None:
        """Train on `train`; `val` chooses the epoch. A backbone that does not change is run once, by ctx.features.

        Raises:
            NotRun: there are no weights to start from, or no times and locations, or too little memory or time.
            UserError: the input has another scale than the backbone's.
        """
        from models import _backboned, _encoder, _loop, _memory, _train

        begin = time.monotonic()
        known = [_encoder.known_coordinates(part.images, self.coordinates) for part in (train, val)]
        self.frozen_ = self._assemble(_backboned.begin(self, train.images, ctx, learns=self.mode not in KEPT))
        self.parameters_ = _train.count_parameters(self.network_)
        _memory.require(self.network_, train.images.shape[1:], self.coordinates, ctx)
        learning = _train.Learning(self.lr, self.weight_decay, self.schedule, self.warmup, self.patience)
        network, seen, judged = self._lesson(train, val, known, ctx)
        left = max(ctx.seconds - (time.monotonic() - begin), 0.0)
        _loop.train(network, seen, judged, replace(ctx, seconds=left), learning)

    def _lesson(
        self, train: Part, val: Part, known: Sequence[tuple[np.ndarray, ...]], ctx: Context
    ) -> tuple[nn.Module, Samples, Samples]:
        """Return what learns, and what from; a backbone that does not change is run here, once for all epochs."""
        from models import _frozen, _train

        if self.mode in KEPT:
            recipe = _frozen.Recipe(self.frozen_["encoder"], train.images.bands, self.coordinates)
            return _frozen.lesson(self.network_, recipe, train, val, ctx)
        seen, judged = (
            _train.Samples(len(part), _train.image_inputs(part.images, *extra), part.masks)
            for part, extra in zip((train, val), known, strict=True)
        )
        return self.network_, seen, judged

    def build_network(self) -> None:
        """Make the network in `network_` again, untrained, what is frozen as it was.

        Raises:
            UserError: a frozen part came out with other weights.
        """
        from models import _backboned

        weights = self.weights_ if self.frozen_ else ""  # what was learned overwrites the whole of an unfrozen backbone
        _backboned.compare(self, self._assemble(_backboned.build(self, weights)), self.frozen_)

    def _assemble(self, encoder: Encoder) -> dict[str, str]:
        """Make `network_` and stop what does not learn; return the checksum of each frozen part."""
        from models import _lora, _segmenter

        self.network_ = _segmenter.build_network(
            encoder, self.scale_, dropout=self.dropout, skip=self.skip, seed=self.seed_
        )
        frozen = _segmenter.freeze(self.network_, self.mode)
        if self.mode == "lora":  # after the checksum: adapters rename what they wrap
            if not encoder.adapted:
                raise NotRun(f"{self.backbone} has no linear layers that LoRA adapts")
            _lora.adapt(encoder, encoder.adapted, seed=self.seed_)
        return frozen

    def predict(self, images: Images, ctx: Context) -> np.ndarray:
        """Return the cloud probability, (n, y, x) float32; the backbone runs on the images, whatever was kept."""
        from models import _encoder, _train

        inputs = _train.image_inputs(images, *_encoder.known_coordinates(images, self.coordinates))
        return _train.predict(self.network_, inputs, len(images), ctx)


def space(trial: Trial) -> dict[str, Any]:
    """Return the fields that tuning changes where the backbone keeps its weights."""
    return {"lr": trial.suggest_float("lr", 1e-5, 1e-3, log=True), **_regularisation(trial)}


def space_unfrozen(trial: Trial) -> dict[str, Any]:
    """Return the fields that tuning changes where the backbone learns, which takes smaller steps."""
    return {"lr": trial.suggest_float("lr", 1e-6, 3e-4, log=True), **_regularisation(trial)}


def _regularisation(trial: Trial) -> dict[str, Any]:
    return {
        "weight_decay": trial.suggest_float("weight_decay", 1e-4, 1e-1, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
    }
