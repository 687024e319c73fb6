"""DOFA (torchgeo through TerraTorch): its patch embedding is made from the wavelengths of the bands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from terratorch.models.backbones.dofa_vit import DOFAEncoderWrapper
from torch import Tensor
from torch.func import functional_call
from torchgeo.models import dofa
from torchgeo.models.scale_mae import get_2d_sincos_pos_embed_with_resolution

from benchmark.api import Band, NotRun
from models import _loading, _train
from models._encoder import ADAPTED, Encoder, as_map, quarters

WRONG = "_wrongwaves"  # end of the name of the variant that is told wrong wavelengths


class Dofa(Encoder):
    """Maps of the layers at each quarter of the depth, without the class token.

    Position embeddings are interpolated (bicubic) to the grid of the input. The statistics of pretraining depend on
    the sensor and come with neither package, so there are none.

    Args:
        model: torchgeo's model.
        wavelengths: in um, of each input band.
    """

    adapted = ADAPTED

    def __init__(self, model: dofa.DOFA, wavelengths: Sequence[float]) -> None:
        super().__init__()
        layers = list(quarters(len(model.blocks)))
        self.wrapped = DOFAEncoderWrapper(model, list(wavelengths), None, layers)
        self.channels = (model.embed_dim,) * 4
        self.multiple = model.patch_size
        self.recipe = (*layers, *wavelengths)

    def forward(self, toa: Tensor, *coordinates: Tensor) -> list[Tensor]:
        """Return four maps (n, channels, y tokens, x tokens) of toa (n, b, y, x)."""
        grid = [size // self.multiple for size in toa.shape[-2:]]
        positions = interpolated(self.wrapped.dofa_model.pos_embed, grid)
        answers = functional_call(self.wrapped, {"dofa_model.pos_embed": positions}, (toa,))
        return [as_map(answer, grid) for answer in answers]


def interpolated(positions: Tensor, grid: Sequence[int]) -> Tensor:
    """Return position embeddings (1, 1 + tokens, channels) of a square grid, class token first, for another grid."""
    side = round((positions.shape[1] - 1) ** 0.5)
    if [side, side] == list(grid):
        return positions
    square = as_map(positions, (side, side))
    resized = torch.nn.functional.interpolate(square, size=tuple(grid), mode="bicubic").flatten(2).transpose(1, 2)
    return torch.cat([positions[:, :1], resized], 1)


def build(name: str, bands: Sequence[Band], *, seed: int, weights: Path | None) -> Dofa:
    """Return DOFA with the bands' own wavelengths, or with wrong ones for a name that ends in `WRONG`.

    Raises:
        NotRun: the bands are so few or alike that no assignment of their wavelengths is wrong.
        RuntimeError: the checkpoint does not give every tensor.
    """
    wavelengths = [band.wavelength for band in bands]
    if name.endswith(WRONG):
        wavelengths = wrong(wavelengths)
    with _train.seeded(seed), torch.device("meta" if weights else "cpu"):
        model = getattr(dofa, name.removesuffix(WRONG))(num_classes=0)
    model.fc_norm = torch.nn.Identity()  # the maps do not pass it, and the published files lack it
    if weights:
        _loading.fill(model, _loading.tensors(weights), weights.name)
    else:  # torchgeo leaves zeros, and the fixed sines and cosines to the checkpoint
        side = model.img_size // model.patch_size
        positions = get_2d_sincos_pos_embed_with_resolution(model.embed_dim, side, torch.ones(1), cls_token=True)
        model.pos_embed.data.copy_(positions)
    return Dofa(model, wavelengths)


def wrong(wavelengths: Sequence[float]) -> list[float]:
    """Return the wavelengths moved by half of their number, so that no band keeps its own.

    Raises:
        NotRun: a band would keep its own.
    """
    half = len(wavelengths) // 2
    moved = [*wavelengths[half:], *wavelengths[:half]]
    if any(one == other for one, other in zip(wavelengths, moved, strict=True)):
        raise NotRun("wrong wavelengths need at least two bands, and different wavelengths; choose other --bands")
    return moved
