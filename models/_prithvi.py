"""Prithvi-EO through TerraTorch: the layers that the study took, weights compared tensor by tensor."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import torch
from terratorch.datasets import HLSBands
from terratorch.models.backbones.prithvi_mae import PrithviViT, get_3d_sincos_pos_embed
from terratorch.models.backbones.prithvi_vit import PRETRAINED_BANDS, checkpoint_filter_fn_vit, prithvi_cfgs
from terratorch.registry import BACKBONE_REGISTRY
from torch import Tensor

from benchmark.api import HLS_ROLES, Band, UserError
from models import _train
from models._encoder import ADAPTED, Encoder, Statistics, as_map, places, quarters, reflectance_statistics


class Prithvi(Encoder):
    """Maps of the layers at each quarter of the depth.

    Args:
        vit: TerraTorch's backbone for one frame.
        statistics: of its pretraining, for the bands of the input.
    """

    adapted = ADAPTED

    def __init__(self, vit: PrithviViT, statistics: Statistics) -> None:
        super().__init__()
        self.vit = vit
        self.statistics = statistics
        self.layers = quarters(len(vit.blocks))
        self.channels = (vit.embed_dim,) * len(self.layers)
        self.multiple = vit.patch_embed.patch_size[-1]
        self.recipe = self.layers

    def forward(self, toa: Tensor, *coordinates: Tensor) -> list[Tensor]:
        """Return four maps (n, channels, y tokens, x tokens); TerraTorch itself would say nothing of a missing time."""
        wanted = 2 * (self.vit.temporal_encoding and self.vit.location_encoding)
        if len(coordinates) != wanted:
            raise ValueError(f"this backbone takes {wanted} kinds of coordinates and was given {len(coordinates)}")
        answers = self.vit.forward_features(toa, *coordinates)
        grid = [size // self.multiple for size in toa.shape[-2:]]
        return [as_map(answers[layer], grid) for layer in self.layers]


def build(name: str, bands: Sequence[Band], *, coordinates: bool, seed: int, weights: Path | None) -> Prithvi:
    """Return the backbone with the checkpoint's weights, or with TerraTorch's random ones drawn from `seed`.

    Args:
        name: in TerraTorch's registry.
        bands: of the input; their roles choose the slices of the patch embedding.
        coordinates: whether time and place go in.
        seed: of random weights, also of those for roles that Prithvi does not know.
        weights: checkpoint with the hub's keys, .safetensors or .pt; None for random weights.

    Raises:
        RuntimeError: the checkpoint does not give every tensor.
        UserError: there is no such name.
    """
    check(name)
    # TerraTorch copies patch-embed weights for members of HLSBands only and says nothing of other names
    names = [HLSBands[band.role] if band.role in HLS_ROLES else band.role for band in bands]
    encodings = ["time", "location"] if coordinates else []
    with _train.seeded(seed), torch.device("meta" if weights else "cpu"):
        vit = BACKBONE_REGISTRY.build(name, pretrained=False, bands=names, num_frames=1, coords_encoding=encodings)
    if weights:
        _load(vit, names, seed, weights)
    return Prithvi(vit, statistics(name, bands))


def check(name: str) -> None:
    """Raise UserError where TerraTorch has no Prithvi of this name."""
    known = [one for one in prithvi_cfgs if one in BACKBONE_REGISTRY]
    if name not in known:
        near = get_close_matches(name, known) or known
        raise UserError(f"no Prithvi is called '{name}'; near it are {', '.join(near)}")


def statistics(name: str, bands: Sequence[Band]) -> Statistics:
    """Return Prithvi's own mean and deviation of each band as fractions, NaN for bands that it does not know."""
    config = prithvi_cfgs[name]
    return reflectance_statistics(config["mean"], config["std"], places(bands, HLS_ROLES))


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors or .pt file, memory-mapped; nothing in the file is executed."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", mmap=True, weights_only=True)


def _load(vit: PrithviViT, names: list[HLSBands | str], seed: int, path: Path) -> None:
    """Fill a backbone that was built without values; a role that Prithvi does not know gets Xavier-uniform weights.

    Raises:
        RuntimeError: the file does not give every tensor of the backbone.
    """
    vit.patch_embed.to_empty(device="cpu")  # TerraTorch copies the known slices into it
    positions = get_3d_sincos_pos_embed(vit.embed_dim, vit.patch_embed.grid_size, add_cls_token=True)
    vit.pos_embed = torch.from_numpy(positions).float().unsqueeze(0)
    try:
        stored = read_checkpoint(path)
        with _train.seeded(seed):
            wanted = checkpoint_filter_fn_vit(dict(stored), vit, PRETRAINED_BANDS, names)
        vit.load_state_dict(wanted, strict=True, assign=True)
    except Exception as error:
        raise RuntimeError(f"{path.name} does not fit this backbone: {error}") from error
    verify(vit, names, stored, path.name)


def verify(vit: PrithviViT, names: Sequence[HLSBands | str], stored: dict[str, Tensor], source: str) -> None:
    """Raise RuntimeError unless every tensor of the backbone, known bands' patch embedding included, is the file's."""
    for name, value in vit.state_dict().items():
        if name == "pos_embed":  # fixed sines and cosines of the grid, not learned
            continue
        found = stored.get(f"encoder.{name}", stored.get(name))
        if found is None:
            raise RuntimeError(f"{source} has no tensor {name}")
        if name == "patch_embed.proj.weight":
            known = [position for position, band in enumerate(names) if band in PRETRAINED_BANDS]
            value, found = value[:, known], found[:, [PRETRAINED_BANDS.index(names[position]) for position in known]]
        if not torch.equal(value, found):
            raise RuntimeError(f"{name} of the backbone is not the tensor in {source}")
