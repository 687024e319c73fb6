"""A foundation model with a segmentation decoder: what learns, and from which start, is a field."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.api import Band, Context, Images, NotRun, Part, Trial, UserError

if TYPE_CHECKING:
    from models._encoder import Encoder

# The same for every mode: rows with other needs would start, and import all of this in, a process of their own.
NEEDS = ("torch", "terratorch", "lightning", "peft")


@dataclass
class Foundation:
    """Backbone, learned pyramid, UNet decoder and head, trained with Dice loss.

    Attributes:
        backbone: name that `_encoders.build` knows.
        coordinates: whether time and place of each patch go in.
        pretrained: whether the backbone starts from ctx.weights; otherwise it is random, from ctx.seed.
        mode: what learns: "unfrozen" everything; "frozen" neck, decoder and head; "lora" these and low-rank adapters
            in the backbone; "head" neck and head, which is what TerraTorch trains when told to freeze encoder and
            decoder.
        statistics: what standardises the bands: "own" of the backbone's pretraining where it knows the band, "train"
            of the training patches.
        skip: whether the input bands also go past the backbone, at full resolution.
        lr: learning rate of AdamW.
        weight_decay: of AdamW.
        dropout: before the last convolution.
        schedule: of the learning rate, as in `_train.Learning`.
        warmup: share of the steps in which the learning rate rises.
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

    def fit(self, train: Part, val: Part, ctx: Context) -> None:
        """Train on `train`; `val` chooses the epoch. A backbone that does not change is run once, by ctx.features.

        Raises:
            NotRun: there are no weights to start from, or no times and locations, or too little memory.
            UserError: the input has another scale than the backbone's.
        """
        from models import _encoder, _frozen, _memory, _train

        if self.pretrained and ctx.weights is None:
            raise NotRun(f"{self.backbone} needs its published weights, and they are not here")
        known = [_encoder.known_coordinates(part.images, self.coordinates) for part in (train, val)]
        self.bands_ = [asdict(band) for band in train.images.bands]
        self.seed_ = ctx.seed
        self.weights_ = str(ctx.weights) if self.pretrained else ""
        encoder = self._build_encoder(self.weights_)
        self.scale_ = _scale(encoder, train.images, self.statistics, ctx)
        self.frozen_ = self._assemble(encoder)
        self.parameters_ = _train.count_parameters(self.network_)
        _memory.require(self.network_, train.images.shape[1:], self.coordinates, ctx)
        learning = _train.Learning(self.lr, self.weight_decay, self.schedule, self.warmup)
        if self.mode in ("frozen", "head"):
            recipe = _frozen.Recipe(self.frozen_["encoder"], train.images.bands, self.coordinates)
            _frozen.train_tail(self.network_, recipe, train, val, ctx, learning)
            return
        seen, judged = (
            _train.Samples(len(part), _train.image_inputs(part.images, *extra), part.masks)
            for part, extra in zip((train, val), known, strict=True)
        )
        _train.train(self.network_, seen, judged, ctx, learning)

    def build_network(self) -> None:
        """Make the network in `network_` again, untrained, what is frozen as it was.

        Raises:
            UserError: a frozen part came out with other weights.
        """
        weights = self.weights_ if self.frozen_ else ""  # what was learned overwrites the whole of an unfrozen backbone
        if weights and not Path(weights).is_file():
            raise UserError(f"the weights of {self.backbone} are no longer at {weights}")
        if self._assemble(self._build_encoder(weights)) != self.frozen_:
            source = self.weights_ or f"seed {self.seed_}"
            raise UserError(f"{self.backbone} built from {source} has other weights than when this method was trained")

    def _build_encoder(self, weights: str) -> Encoder:
        from models import _encoders

        return _encoders.build(
            self.backbone,
            [Band(**band) for band in self.bands_],
            coordinates=self.coordinates,
            seed=self.seed_,
            weights=Path(weights) if weights else None,
        )

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

    def embed(self, images: Images, ctx: Context) -> np.ndarray:
        """Return the last map of the backbone on cells that cover the patch, (n, rows, columns, channels) float32."""
        from models import _frozen, _tokens

        maps = _frozen.last_maps(self.network_, images, self.coordinates, ctx)
        return _tokens.on_patch(maps, self.network_.encoder, images.shape[-2:])


def _scale(encoder: Encoder, images: Images, kind: str, ctx: Context) -> dict[str, list[float]]:
    """Return what standardises the bands, and put it on record.

    Raises:
        UserError: the images have another scale than the backbone declares.
    """
    from models import _scales

    _scales.gate(images, encoder.statistics)
    chosen = _scales.choose(encoder.statistics, images, kind)
    own = np.isfinite(encoder.statistics.mean) if encoder.statistics and kind == "own" else np.zeros(1)
    ctx.fact("input scale", "own" if own.all() else "own, of unknown bands train" if own.any() else "train")
    ctx.fact("input mean", chosen["mean"])
    ctx.fact("input std", chosen["std"])
    return chosen


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
