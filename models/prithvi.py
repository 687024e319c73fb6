"""Prithvi-EO-2.0: pretrained or random, frozen or not, with or without time and place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.api import Context, Images, NotRun, Part, Row, Trial, UserError, Weights

# Size -> backbone in TerraTorch's registry without and with time and location encoding.
BACKBONES = {
    "tiny": ("prithvi_eo_v2_tiny_tl", "prithvi_eo_v2_tiny_tl"),
    "100": ("prithvi_eo_v2_100_tl", "prithvi_eo_v2_100_tl"),
    "300": ("prithvi_eo_v2_300", "prithvi_eo_v2_300_tl"),
    "600": ("prithvi_eo_v2_600", "prithvi_eo_v2_600_tl"),
}
HUB = "ibm-nasa-geospatial/Prithvi-EO-2.0-"
WEIGHTS = {
    "prithvi_eo_v2_tiny_tl": Weights(HUB + "tiny-TL", "Prithvi_EO_V2_tiny_TL.pt"),
    "prithvi_eo_v2_100_tl": Weights(HUB + "100M-TL", "Prithvi_EO_V2_100M_TL.pt"),
    "prithvi_eo_v2_300": Weights(HUB + "300M", "Prithvi_EO_V2_300M.pt"),
    "prithvi_eo_v2_300_tl": Weights(HUB + "300M-TL", "Prithvi_EO_V2_300M_TL.pt"),
    "prithvi_eo_v2_600": Weights(HUB + "600M", "Prithvi_EO_V2_600M.pt"),
    "prithvi_eo_v2_600_tl": Weights(HUB + "600M-TL", "Prithvi_EO_V2_600M_TL.pt"),
}


@dataclass
class Prithvi:
    """Prithvi backbone, learned pyramid, UNet decoder and head, trained with Dice loss.

    Attributes:
        backbone: name in TerraTorch's registry.
        coordinates: whether time and place of each patch go in.
        pretrained: whether the backbone starts from ctx.weights; otherwise it is random, from ctx.seed.
        mode: what learns: "unfrozen" everything; "frozen" neck, decoder and head; "head" neck and head, which is
            what TerraTorch trains when told to freeze encoder and decoder.
        lr: learning rate of AdamW.
        weight_decay: of AdamW.
        dropout: before the last convolution.
    """

    backbone: str = "prithvi_eo_v2_300"
    coordinates: bool = False
    pretrained: bool = True
    mode: str = "frozen"
    lr: float = 1e-4
    weight_decay: float = 1e-2
    dropout: float = 0.1

    def fit(self, train: Part, val: Part, ctx: Context) -> None:
        """Train on `train`; `val` chooses the epoch. A frozen backbone is run once, through ctx.features.

        Raises:
            NotRun: there are no weights to start from, or no times and locations.
        """
        from models import _frozen, _prithvi, _train

        if self.pretrained and ctx.weights is None:
            raise NotRun(f"{self.backbone} needs its published weights, and they are not here")
        known = [_prithvi.known_coordinates(part.images, self.coordinates) for part in (train, val)]
        mean, std = _prithvi.scale_of(train.images)
        self.scale_ = {"mean": mean, "std": std}
        self.roles_ = [band.role for band in train.images.bands]
        self.seed_ = ctx.seed
        self.weights_ = str(ctx.weights) if self.pretrained else ""
        self._build(self.weights_)
        self.frozen_ = _prithvi.freeze(self.network_, self.mode)
        self.parameters_ = _train.count_parameters(self.network_)
        learning = {"lr": self.lr, "weight_decay": self.weight_decay}
        if self.mode == "unfrozen":
            seen, judged = (
                _train.Samples(len(part), _train.image_inputs(part.images, *extra), part.masks)
                for part, extra in zip((train, val), known, strict=True)
            )
            _train.train(self.network_, seen, judged, ctx, **learning)
        else:
            recipe = (self.frozen_["encoder"], self.roles_, self.coordinates)
            _frozen.train_tail(self.network_, recipe, train, val, ctx, **learning)

    def build_network(self) -> None:
        """Make the network in `network_` again, untrained, what is frozen as it was.

        Raises:
            UserError: a frozen part came out with other weights.
        """
        from models import _prithvi

        weights = self.weights_ if self.frozen_ else ""  # what was learned overwrites the whole of an unfrozen backbone
        if weights and not Path(weights).is_file():
            raise UserError(f"the weights of {self.backbone} are no longer at {weights}")
        self._build(weights)
        if _prithvi.freeze(self.network_, self.mode) != self.frozen_:
            source = self.weights_ or f"seed {self.seed_}"
            raise UserError(f"{self.backbone} built from {source} has other weights than when this method was trained")

    def _build(self, weights: str) -> None:
        from models import _prithvi

        backbone = _prithvi.build_backbone(self.backbone, self.roles_, self.coordinates, self.seed_, weights)
        self.network_ = _prithvi.build_network(backbone, self.scale_, self.dropout, self.seed_)

    def predict(self, images: Images, ctx: Context) -> np.ndarray:
        """Return the cloud probability, (n, y, x) float32; the backbone runs on the images, whatever was kept."""
        from models import _prithvi, _train

        inputs = _train.image_inputs(images, *_prithvi.known_coordinates(images, self.coordinates))
        return _train.predict(self.network_, inputs, len(images), ctx)


def space(trial: Trial) -> dict[str, Any]:
    """Return the fields that tuning changes where the backbone is frozen."""
    return {"lr": trial.suggest_float("lr", 1e-5, 1e-3, log=True), **_regularisation(trial)}


def space_unfrozen(trial: Trial) -> dict[str, Any]:
    """Return the fields that tuning changes where the backbone learns, which takes smaller steps."""
    return {"lr": trial.suggest_float("lr", 1e-6, 3e-4, log=True), **_regularisation(trial)}


def _regularisation(trial: Trial) -> dict[str, Any]:
    return {
        "weight_decay": trial.suggest_float("weight_decay", 1e-4, 1e-1, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
    }


# (size, time and place, pretrained, mode) -> name of the same run in the study.
STUDY = {
    ("300", False, False, "unfrozen"): "exp_0",
    ("300", False, False, "frozen"): "exp_1",
    ("300", False, True, "unfrozen"): "exp_2",
    ("300", False, True, "frozen"): "exp_3",
    ("300", True, True, "frozen"): "exp_4",
    ("600", False, False, "unfrozen"): "exp_5",
    ("600", False, True, "frozen"): "exp_6",
    ("300", False, False, "head"): "exp_7",
}
NOTES = {
    "exp_0": "the study trained this run for 5 epochs and the others for 20; here all have the same steps",
    "exp_4": "the study's run gave the backbone no times and locations; here they reach it",
}


def row(size: str, coordinates: bool, pretrained: bool, mode: str) -> Row:
    """Return one line of the table of sizes, encodings, starts and modes."""
    backbone = BACKBONES[size][coordinates]
    start = "pretrained" if pretrained else "random"
    study_id = STUDY.get((size, coordinates, pretrained, mode), "")
    notes = [NOTES.get(study_id, "")]
    if mode == "head":
        notes.append("neck and head learn, as when TerraTorch freezes encoder and decoder")
    if not coordinates and backbone.endswith("_tl"):
        notes.append(f"there is no plain backbone of this size: {backbone} with its time and location encoding off")
    return Row(
        name=f"prithvi-{size}{'-tl' if coordinates else ''}-{start}-{mode}",
        family="foundation",
        method=Prithvi,
        params={"backbone": backbone, "coordinates": coordinates, "pretrained": pretrained, "mode": mode},
        space=space_unfrozen if mode == "unfrozen" else space,
        needs=("torch", "terratorch"),
        weights=WEIGHTS[backbone] if pretrained else None,
        study_id=study_id,
        note="; ".join(note for note in notes if note),
    )


def long(short: Row, study_id: str) -> Row:
    """Return the same row with 150 epochs where the budget is 20."""
    return replace(short, name=f"{short.name}-long", epochs=7.5, study_id=study_id, note="7.5 times the epochs")


ROWS = (
    *(row(*variant) for variant in product(BACKBONES, (False, True), (True, False), ("frozen", "unfrozen", "head"))),
    long(row("300", False, False, "frozen"), "exp_31"),
    long(row("300", False, True, "frozen"), "exp_33"),
)
