"""Clay v1 through TerraTorch: its patch embedding is made from the wavelengths of the bands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from terratorch.models.backbones.clay_v1.modules import EmbeddingEncoder
from terratorch.models.backbones.clay_v1.utils import posemb_sincos_2d_with_gsd
from torch import Tensor

from benchmark.api import Band
from models import _loading, _train
from models._encoder import Encoder, as_map, quarters

# Metres of a pixel that the position encoding is told: TerraTorch's default; 500 m is far from what Clay was shown.
GROUND = 1.0
METADATA = 8  # channels of the encoding that hold time and place, 0 where unknown


class Clay(Encoder):
    """Maps of the layers at each quarter of the depth, without the class token.

    Positions are computed for the grid of the input; TerraTorch's own forward knows one square size. Time and place
    stay unknown. The statistics of pretraining depend on the sensor and do not come with TerraTorch.

    Args:
        model: TerraTorch's encoder.
        wavelengths: in um, of each input band.
    """

    adapted = ("to_qkv.q_linear", "to_qkv.v_linear", "net.1", "net.3")

    def __init__(self, model: EmbeddingEncoder, wavelengths: Sequence[float]) -> None:
        super().__init__()
        self.model = model
        self.wavelengths = tuple(wavelengths)
        self.layers = quarters(len(model.transformer.layers))
        self.channels = (model.dim,) * 4
        self.multiple = model.patch_size
        self.recipe = (*self.layers, *self.wavelengths, GROUND)

    def forward(self, toa: Tensor, *coordinates: Tensor) -> list[Tensor]:
        """Return four maps (n, channels, y tokens, x tokens) of toa (n, b, y, x)."""
        grid = [size // self.multiple for size in toa.shape[-2:]]
        tokens, _ = self.model.to_patch_embed(toa, torch.tensor(self.wavelengths, device=toa.device))
        positions = posemb_sincos_2d_with_gsd(*grid, dim=self.model.dim - METADATA, gsd=GROUND).to(tokens)
        tokens = tokens + torch.nn.functional.pad(positions, (0, METADATA))
        cls = self.model.cls_token.expand(len(toa), -1, -1)
        answers = self.model.transformer(torch.cat([cls, tokens], 1))
        return [as_map(answers[layer], grid) for layer in self.layers]


def build(name: str, bands: Sequence[Band], *, seed: int, weights: Path | None) -> Clay:
    """Return Clay with the bands' own wavelengths.

    Raises:
        RuntimeError: the checkpoint does not give every tensor.
    """
    with _train.seeded(seed), torch.device("meta" if weights else "cpu"):
        whole: Any = timm.create_model(name, pretrained=False)
    model = whole.clay_encoder
    if weights:
        _loading.fill(model, _loading.tensors(weights, "model.encoder."), weights.name)
    return Clay(model, [band.wavelength for band in bands])
