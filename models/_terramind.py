"""TerraMind v1 through TerraTorch, fed as its Sentinel-2 L1C modality."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from terratorch.models.backbones.terramind.model.terramind_register import (
    PRETRAINED_BANDS,
    v1_pretraining_mean,
    v1_pretraining_std,
)
from terratorch.models.backbones.terramind.model.terramind_vit import TerraMindViT
from terratorch.registry import BACKBONE_REGISTRY
from torch import Tensor

from benchmark.api import Band, NotRun
from models import _loading, _train
from models._encoder import ADAPTED, Encoder, Statistics, as_map, places, quarters, reflectance_statistics

MODALITY = "S2L1C"
KEY = "untok_sen2l1c@224"  # TerraTorch's name of the modality's tensors and statistics
STEM = f"encoder_embeddings.{KEY}.proj.weight"


class TerraMind(Encoder):
    """Maps of the layers at each quarter of the depth; it has no class token, and interpolates its own positions.

    Args:
        vit: TerraTorch's backbone for one modality.
        statistics: of its pretraining, for the bands of the input.
    """

    adapted = ADAPTED

    def __init__(self, vit: TerraMindViT, statistics: Statistics) -> None:
        super().__init__()
        self.vit = vit
        self.layers = quarters(len(vit.encoder))
        self.channels = tuple(vit.out_channels[layer] for layer in self.layers)
        self.multiple = vit.encoder_embeddings[KEY].patch_size[0]
        self.statistics = statistics
        self.recipe = self.layers

    def forward(self, toa: Tensor, *coordinates: Tensor) -> list[Tensor]:
        """Return four maps (n, channels, y tokens, x tokens) of toa (n, b, y, x)."""
        grid = [size // self.multiple for size in toa.shape[-2:]]
        answers = self.vit(toa)
        return [as_map(answers[layer], grid) for layer in self.layers]


def build(name: str, bands: Sequence[Band], *, seed: int, weights: Path | None) -> TerraMind:
    """Return TerraMind; each band goes into the slot of its role, 1.375 um into that of CIRRUS.

    Raises:
        NotRun: a band plays a role that Sentinel-2 L1C does not have.
        RuntimeError: the checkpoint does not give every tensor.
    """
    known = PRETRAINED_BANDS[KEY]
    taken = places(bands, known)
    foreign = [band.name for band, place in zip(bands, taken, strict=True) if place is None]
    if foreign:
        raise NotRun(
            f"{name} knows the bands of Sentinel-2 L1C and not {', '.join(foreign)}; --bands S1,S2,S3,S4,S5,S6"
        )
    with _train.seeded(seed):
        roles = {MODALITY: [known[place] for place in taken]}
        vit = BACKBONE_REGISTRY.build(name, pretrained=False, modalities=[MODALITY], bands=roles)
    if weights:
        stored = _loading.tensors(weights)
        if STEM in stored:
            stored[STEM] = slots(stored[STEM], len(known))[..., taken].flatten(1)
        _loading.fill(vit, stored, weights.name)
    return TerraMind(vit, reflectance_statistics(v1_pretraining_mean[KEY], v1_pretraining_std[KEY], taken))


def slots(stem: Tensor, bands: int) -> Tensor:
    """Return the patch embedding (out, pixels * bands), bands the fastest, as (out, pixels, bands)."""
    return torch.unflatten(stem, 1, (-1, bands))
