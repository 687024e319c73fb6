"""A frozen backbone runs once for each patch and orientation; what follows it learns from the kept features."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import torch
from terratorch.models.utils import center_crop
from torch import Tensor, nn

from benchmark.api import Context, Images, Part, digest
from models import _train
from models._prithvi import Network, known_coordinates

Recipe = tuple[str, list[str], bool]  # checksum of the backbone, roles of the bands, whether time and place go in


class Tail(nn.Module):
    """What comes after a frozen backbone: the neck's convolutions, the decoder and the head of a `Network`.

    Args:
        network: whose modules are used, not copied.
        size: rows and columns of a patch.
    """

    def __init__(self, network: Network, size: tuple[int, int]) -> None:
        super().__init__()
        model = network.model
        self.neck, self.decoder, self.head = model.neck[2:], model.decoder, model.head
        self.patch = tuple(model.patch_size[-2:])
        self.size = size

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (n, 2, y, x) of features (n, 4, channels, y tokens, x tokens)."""
        levels = self.neck(list(features.float().unbind(1)))
        logits = self.head(self.decoder(levels))
        padded = [tokens * patch for tokens, patch in zip(features.shape[-2:], self.patch, strict=True)]
        return center_crop(nn.functional.interpolate(logits, size=padded, mode="bilinear"), self.size)


@dataclass
class FrozenEncoder:
    """A backbone behind one element of D4 (`api.Encoder`).

    Attributes:
        network: the network with the backbone.
        recipe: what pins the backbone.
        element: element of D4 that turns the images.
        ctx: device and batch.
    """

    network: Network
    recipe: Recipe
    element: int
    ctx: Context

    def __post_init__(self) -> None:
        model, scale = self.network.model, self.network.scale
        # bfloat16 on CUDA gives other features than float32 on a CPU, and another TerraTorch may as well
        self.fingerprint = digest(
            *self.recipe,
            self.element,
            scale.mean.flatten().tolist(),
            scale.std.flatten().tolist(),
            model.neck[0].indices,
            list(model.patch_size),
            model.padding,
            self.ctx.device.split(":")[0],
            version("terratorch"),
        )

    def encode(self, images: Images) -> np.ndarray:
        """Return features (n, 4, channels, y tokens, x tokens) float16.

        Raises:
            RuntimeError: a feature does not fit float16.
        """
        _train.place(self.network, self.ctx.device).eval()
        inputs = _train.image_inputs(images, *known_coordinates(images, self.recipe[2]))
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


def train_tail(
    network: Network, recipe: Recipe, train: Part, val: Part, ctx: Context, *, lr: float, weight_decay: float
) -> None:
    """Train what follows the backbone from features that ctx.features keeps, one set per orientation."""
    encoders = [FrozenEncoder(network, recipe, element, ctx) for element in range(ctx.budget.orientations)]
    turned = [ctx.features(encoder, train.images) for encoder in encoders]
    plain = ctx.features(encoders[0], val.images)
    seen = _train.Samples(len(train), _feature_inputs(turned), train.masks)
    judged = _train.Samples(len(val), _feature_inputs([plain]), val.masks)
    tail = Tail(network, train.images.shape[-2:])
    _train.train(tail, seen, judged, ctx, lr=lr, weight_decay=weight_decay)


def _feature_inputs(turned: list[np.ndarray]) -> _train.Inputs:
    """Return inputs that take each patch from the features of its orientation: turning features is not the same."""
    return lambda rows, elements: (
        np.stack([turned[element][row] for row, element in zip(rows, elements, strict=True)]),
    )
