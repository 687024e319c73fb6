"""Scale-MAE through TerraTorch: pretrained on red, green and blue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from terratorch.datasets import HLSBands
from terratorch.models.backbones import scalemae
from torch import Tensor

from benchmark.api import Band
from models import _loading, _train
from models._encoder import ADAPTED, Encoder, as_map, places, quarters

PREFIX = "scalemae_"  # before a name of TerraTorch's own table of Scale-MAE models
GROUND = 1.0  # metres of a pixel that the position encoding is told: TerraTorch's default
STEM = "patch_embed.proj.weight"


class ScaleMae(Encoder):
    """Maps of the layers at each quarter of the depth, without the class token.

    Positions are computed for the grid of the input. It was pretrained on 8-bit pictures, which no reflectance can be
    compared with, so it declares no statistics.

    Args:
        vit: TerraTorch's model.
    """

    adapted = ADAPTED

    def __init__(self, vit: scalemae.VisionTransformer) -> None:
        super().__init__()
        self.vit = vit
        self.layers = quarters(len(vit.blocks))
        self.channels = (vit.embed_dim,) * 4
        self.multiple = vit.patch_embed.patch_size[0]
        self.recipe = (*self.layers, GROUND)

    def forward(self, toa: Tensor, *coordinates: Tensor) -> list[Tensor]:
        """Return four maps (n, channels, y tokens, x tokens) of toa (n, b, y, x)."""
        grid = [size // self.multiple for size in toa.shape[-2:]]
        tokens = torch.cat([self.vit.cls_token.expand(len(toa), -1, -1), self._placed(toa, grid)], 1)
        maps = []
        for layer, block in enumerate(self.vit.blocks):
            tokens = block(tokens)
            if layer in self.layers:
                maps.append(as_map(tokens, grid))
        return maps

    def _placed(self, toa: Tensor, grid: Sequence[int]) -> Tensor:
        """Return tokens with their positions; TerraTorch's function knows square grids, so the largest is cut."""
        side, width = max(grid), self.vit.embed_dim
        ground = torch.full((1,), GROUND, device=toa.device)
        square = scalemae.get_2d_sincos_pos_embed_with_resolution(width, side, ground, device=toa.device)
        positions = square.unflatten(1, (side, side))[:, : grid[0], : grid[1]].flatten(1, 2)
        tokens = self.vit.patch_embed(toa)
        return tokens + positions.to(tokens.dtype)


def build(name: str, bands: Sequence[Band], *, seed: int, weights: Path | None) -> ScaleMae:
    """Return Scale-MAE; red, green and blue keep their weights, other bands get random ones.

    Raises:
        RuntimeError: the checkpoint does not give every tensor.
    """
    known = [band.name for band in scalemae.PRETRAINED_BANDS]
    roles = [HLSBands[band.role] if band.role in known else band.role for band in bands]
    with _train.seeded(seed), torch.device("meta" if weights else "cpu"):
        vit = scalemae.create_model(name.removeprefix(PREFIX), bands=roles)
    vit.norm = torch.nn.Identity()
    vit.pos_embed = None
    if weights:
        stored = _loading.tensors(weights)
        if STEM in stored:
            stored[STEM] = _loading.select(stored[STEM], places(bands, known), seed)
        _loading.fill(vit, stored, weights.name)
    return ScaleMae(vit)
