"""Prithvi-EO-2.0 through TerraTorch: backbone, neck, UNet decoder and head as the study wired them."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from terratorch.datasets import HLSBands
from terratorch.models.backbones.prithvi_mae import PrithviViT, get_3d_sincos_pos_embed
from terratorch.models.backbones.prithvi_vit import (
    PRETRAINED_BANDS,
    PRITHVI_V2_MEAN,
    PRITHVI_V2_STD,
    checkpoint_filter_fn_vit,
)
from terratorch.models.encoder_decoder_factory import EncoderDecoderFactory
from terratorch.models.pixel_wise_model import PixelWiseModel
from terratorch.models.utils import pad_images
from terratorch.registry import BACKBONE_REGISTRY
from torch import Tensor, nn

from benchmark.api import HLS_ROLES, REFLECTANCE, Images, NotRun
from models import _train

REFLECTANCE_SCALE = 1e4  # Prithvi's statistics are those of reflectance times 10,000
PARTS = {"unfrozen": (), "frozen": ("encoder",), "head": ("encoder", "decoder")}  # what does not learn


class Network(nn.Module):
    """Scale and TerraTorch's model; also gives the backbone's answer alone."""

    def __init__(self, scale: _train.Scale, model: PixelWiseModel) -> None:
        super().__init__()
        self.scale = scale
        self.model: PixelWiseModel = model

    def forward(self, toa: Tensor, *coordinates: Tensor) -> Tensor:
        """Return logits (n, 2, y, x) of toa (n, b, y, x)."""
        return self.model(self.scale(toa), **as_keywords(coordinates)).output

    def features(self, toa: Tensor, *coordinates: Tensor) -> Tensor:
        """Return the four layers that the neck takes, (n, 4, channels, y tokens, x tokens)."""
        toa = pad_images(self.scale(toa), self.model.patch_size, self.model.padding)
        layers = self.model.encoder(toa, **as_keywords(coordinates))
        for neck in self.model.neck[:2]:
            layers = neck(layers, image_size=toa.shape[-2:])
        return torch.stack(layers, 1)


def scale_of(images: Images) -> tuple[list[float], list[float]]:
    """Return mean and std per band: Prithvi's own for the roles it knows, those of these images for others."""
    known = [band.role in HLS_ROLES and band.quantity == REFLECTANCE for band in images.bands]
    mean, std = ([0.0] * len(known), [1.0] * len(known)) if all(known) else _train.band_statistics(images)
    for position, band in enumerate(images.bands):
        if known[position]:
            mean[position] = PRITHVI_V2_MEAN[HLS_ROLES.index(band.role)] / REFLECTANCE_SCALE
            std[position] = PRITHVI_V2_STD[HLS_ROLES.index(band.role)] / REFLECTANCE_SCALE
    return mean, std


def known_coordinates(images: Images, wanted: bool) -> tuple[np.ndarray, ...]:
    """Return time (n, 1, 2) as year and day of year from 0, and place (n, 2) as lat and lon, float32; () if unwanted.

    Raises:
        NotRun: a patch has no time or place.
    """
    if not wanted:
        return ()
    time = images.time[images.index].astype("datetime64[D]")
    place = np.stack([images.lat[images.index], images.lon[images.index]], 1).astype(np.float32)
    if np.isnat(time).any() or not np.isfinite(place).all():
        raise NotRun("this row needs time and place, and the data set has no times/locations for all of its patches")
    year = time.astype("datetime64[Y]")
    moment = np.stack([year.astype(int) + 1970, (time - year).astype(int)], 1).astype(np.float32)
    return moment[:, None], place


def build_network(backbone: PrithviViT, scale: dict[str, list[float]], dropout: float, seed: int) -> Network:
    """Return the untrained network; neck, decoder and head of a seed are the same whatever the backbone's weights.

    Args:
        backbone: as `build_backbone` gives it.
        scale: mean and std of each input band.
        dropout: before the last convolution.
        seed: of the random weights.
    """
    depth = len(backbone.blocks)
    necks = [
        {"name": "SelectIndices", "indices": [depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4)]},
        {"name": "ReshapeTokensToImage"},
        {"name": "LearnedInterpolateToPyramidal"},
    ]
    with _train.seeded(seed):
        model = EncoderDecoderFactory().build_model(
            task="segmentation",
            backbone=backbone,
            necks=necks,
            decoder="UNetDecoder",
            decoder_channels=[512, 256, 128, 64],
            head_dropout=dropout,
            num_classes=2,
            rescale=True,
        )
    return Network(_train.Scale(**scale), model)


def freeze(network: Network, mode: str) -> dict[str, str]:
    """Stop the parts of PARTS[mode] from learning; return the checksum of each."""
    parts = {part: network.model.get_submodule(part) for part in PARTS[mode]}
    for part in parts.values():
        part.requires_grad_(False)
    return {name: checksum(part) for name, part in parts.items()}


def checksum(module: nn.Module) -> str:
    """Return the SHA-256 of names, shapes and bytes of all parameters and buffers."""
    total = sha256()
    for name, value in module.state_dict().items():
        array = value.detach().cpu().contiguous().numpy()
        total.update(f"{name} {array.dtype} {array.shape}".encode())
        total.update(array.reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def build_backbone(name: str, roles: list[str], coordinates: bool, seed: int, weights: str) -> PrithviViT:
    """Return the backbone with the checkpoint's weights, or with TerraTorch's random ones drawn from `seed`."""
    # TerraTorch copies patch-embed weights for members of HLSBands only and says nothing of other names
    bands = [HLSBands[role] if role in HLS_ROLES else role for role in roles]
    encodings = ["time", "location"] if coordinates else []
    with _train.seeded(seed), torch.device("meta" if weights else "cpu"):
        backbone = BACKBONE_REGISTRY.build(name, pretrained=False, bands=bands, num_frames=1, coords_encoding=encodings)
    if weights:
        _load(backbone, bands, seed, Path(weights))
    return backbone


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors or .pt file, memory-mapped; nothing in the file is executed."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", mmap=True, weights_only=True)


def _load(backbone: PrithviViT, bands: list[HLSBands | str], seed: int, path: Path) -> None:
    """Fill a backbone that was built without values; a role that Prithvi does not know gets Xavier-uniform weights.

    Raises:
        RuntimeError: the file does not give every tensor of the backbone.
    """
    backbone.to_empty(device="cpu")
    positions = get_3d_sincos_pos_embed(backbone.embed_dim, backbone.patch_embed.grid_size, add_cls_token=True)
    backbone.pos_embed.copy_(torch.from_numpy(positions))
    try:
        stored = read_checkpoint(path)
        with _train.seeded(seed):
            wanted = checkpoint_filter_fn_vit(dict(stored), backbone, PRETRAINED_BANDS, bands)
        backbone.load_state_dict(wanted, strict=True, assign=True)
    except Exception as error:
        raise RuntimeError(f"{path.name} does not fit this backbone: {error}") from error
    verify(backbone, bands, stored, path.name)


def verify(backbone: PrithviViT, bands: list[HLSBands | str], stored: dict[str, Tensor], source: str) -> None:
    """Raise RuntimeError unless every tensor of the backbone, known bands' patch embedding included, is the file's."""
    for name, value in backbone.state_dict().items():
        if name == "pos_embed":  # fixed sines and cosines of the grid, not learned
            continue
        found = stored.get(f"encoder.{name}", stored.get(name))
        if found is None:
            raise RuntimeError(f"{source} has no tensor {name}")
        if name == "patch_embed.proj.weight":
            known = [position for position, band in enumerate(bands) if band in PRETRAINED_BANDS]
            value, found = value[:, known], found[:, [PRETRAINED_BANDS.index(bands[position]) for position in known]]
        if not torch.equal(value, found):
            raise RuntimeError(f"{name} of the backbone is not the tensor in {source}")


def as_keywords(coordinates: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """Return time and place under the names that the backbone knows them by; () gives none."""
    return dict(zip(("temporal_coords", "location_coords"), coordinates, strict=False))
