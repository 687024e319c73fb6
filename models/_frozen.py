"""A frozen backbone runs once for each patch and orientation; what follows it learns from the kept features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from importlib.metadata import version
from inspect import getfile
from pathlib import Path

import numpy as np
import torch

from benchmark.api import Band, Context, Features, Images, Part, code, digest
from models import _encoder, _segmenter, _train
from models._encoder import known_coordinates
from models._segmenter import Backbone, Network, Tail

# Packages that compute the maps: another version may give other features.
PACKAGES = ("torch", "terratorch", "timm", "torchgeo")


@dataclass(frozen=True)
class Recipe:
    """What pins a backbone's features besides the scale.

    Attributes:
        checksum: of the backbone's parameters and buffers.
        bands: of the input.
        coordinates: whether time and place go in.
    """

    checksum: str
    bands: tuple[Band, ...]
    coordinates: bool


@dataclass
class FrozenEncoder:
    """A backbone behind one element of D4 (`api.Encoder`).

    Attributes:
        network: the backbone, or a network with it.
        recipe: what pins it.
        element: element of D4 that turns the images.
        ctx: device and batch.
    """

    network: Backbone
    recipe: Recipe
    element: int
    ctx: Context

    def __post_init__(self) -> None:
        encoder, scale = self.network.encoder, self.network.scale
        modules = (type(encoder), _encoder, _segmenter, _train)
        self.fingerprint = digest(
            self.recipe.checksum,
            [astuple(band)[1:] for band in self.recipe.bands],
            self.recipe.coordinates,
            self.element,
            scale.mean.flatten().tolist(),
            scale.std.flatten().tolist(),
            type(encoder).__qualname__,
            encoder.recipe,
            (encoder.channels, encoder.multiple, encoder.pyramid),
            # bfloat16 on CUDA gives other features than float32 on a CPU
            (self.ctx.device.split(":")[0], str(_train.precision(self.ctx.device))),
            code(*(Path(getfile(module)) for module in modules), Path(__file__)),
            [version(package) for package in PACKAGES],
        )

    def encode(self, images: Images) -> np.ndarray:
        """Return features (n, total) float16, the maps of a patch one after the other.

        Raises:
            RuntimeError: a feature does not fit float16.
        """
        _train.place(self.network, self.ctx.device).eval()
        inputs = _train.image_inputs(images, *known_coordinates(images, self.recipe.coordinates))
        pieces = _train.batches(np.arange(len(images)), self.ctx)
        features = np.concatenate([self._encode(inputs(rows, np.full(len(rows), self.element))) for rows in pieces])
        if not np.isfinite(features).all():
            raise RuntimeError("the backbone's features do not fit float16, so they cannot be kept")
        return features

    @torch.inference_mode()
    def _encode(self, arrays: tuple[np.ndarray, ...]) -> np.ndarray:
        with _train.autocast(self.ctx.device):
            features = self.network.features(*_train.tensors(arrays, self.ctx.device))
        return features.half().cpu().numpy()


def lesson(
    network: Network, recipe: Recipe, train: Part, val: Part, ctx: Context
) -> tuple[Tail, _train.Samples, _train.Samples]:
    """Return what follows the backbone, and train and val as features that ctx.features keeps, one per orientation."""
    encoders = [FrozenEncoder(network, recipe, element, ctx) for element in range(ctx.budget.orientations)]
    turned = [ctx.features(encoder, train.images) for encoder in encoders]
    plain = [ctx.features(encoders[0], val.images)]
    seen, judged = (
        _train.Samples(len(part), _inputs(features, part.images, network.segmenter.skips), part.masks)
        for part, features in ((train, turned), (val, plain))
    )
    return Tail(network, train.images.shape[-2:]), seen, judged


def last_maps(network: Backbone, images: Images, coordinates: bool, ctx: Context) -> np.ndarray:
    """Return the last map of the backbone, (n, rows, columns, channels) float32, of the images as padded."""
    _train.place(network, ctx.device).eval()
    inputs = _train.image_inputs(images, *known_coordinates(images, coordinates))
    answers = []
    for rows in _train.batches(np.arange(len(images)), ctx):
        with torch.inference_mode(), _train.autocast(ctx.device):
            arrays = _train.tensors(inputs(rows, np.zeros(len(rows), int)), ctx.device)
            answers.append(network.maps(*arrays)[-1].permute(0, 2, 3, 1).float().cpu().numpy())
    return np.concatenate(answers)


def _inputs(turned: Sequence[Features], images: Images, with_images: bool) -> _train.Inputs:
    """Return inputs that take each patch from the features of its orientation: turning features is not the same."""
    read = _train.image_inputs(images)

    def inputs(rows: np.ndarray, elements: np.ndarray) -> tuple[np.ndarray, ...]:
        features = np.empty((len(rows), *turned[0].shape[1:]), np.float16)
        for element in np.unique(elements):
            features[elements == element] = turned[element][rows[elements == element]]
        return (features, *(read(rows, elements) if with_images else ()))

    return inputs
