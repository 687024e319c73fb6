"""From a backbone's maps to logits: TerraTorch's neck, UNet decoder and head, and a path at full resolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from terratorch.models.decoders.unet_decoder import UNetDecoder
from terratorch.models.heads import SegmentationHead
from terratorch.models.necks import LearnedInterpolateToPyramidal
from terratorch.models.utils import center_crop, pad_images
from torch import Tensor, nn
from torch.nn.functional import interpolate

from models import _train
from models._encoder import Encoder, checksum

DECODER = (512, 256, 128, 64)  # channels of the study's decoder
STEM = 32  # channels of the path at full resolution
# Mode -> what keeps the values that it started from; in "lora" the adapters inside the backbone learn.
FROZEN = {
    "unfrozen": (),
    "frozen": ("encoder",),
    "lora": ("encoder",),
    "head": ("encoder", "segmenter.decoder"),
}


class Backbone(nn.Module):
    """Scale, padding and encoder: toa to maps.

    Args:
        scale: standardises the bands.
        encoder: the backbone.
    """

    def __init__(self, scale: _train.Scale, encoder: Encoder) -> None:
        super().__init__()
        self.scale = scale
        self.encoder: Encoder = encoder

    def maps(self, toa: Tensor, *coordinates: Tensor) -> list[Tensor]:
        """Return the encoder's maps (n, channels, rows, columns) of toa (n, b, y, x), padded on all sides."""
        return self.encoder(pad(self.scale(toa), self.encoder), *coordinates)

    def features(self, toa: Tensor, *coordinates: Tensor) -> Tensor:
        """Return the maps as one row of numbers a patch, (n, total); `unflatten` makes maps of them again."""
        return torch.cat([one.flatten(1) for one in self.maps(toa, *coordinates)], 1)


class Segmenter(nn.Module):
    """What comes after the backbone: maps to logits.

    Args:
        encoder: tells the maps.
        dropout: before the last convolution.
        bands: of the input, for a path at full resolution beside the decoder; 0 for none.
    """

    def __init__(self, encoder: Encoder, dropout: float, bands: int) -> None:
        super().__init__()
        channels = list(encoder.channels)
        neck = None if encoder.pyramid else LearnedInterpolateToPyramidal(channels)
        self.decoder = UNetDecoder(neck.process_channel_list(channels) if neck else channels, list(DECODER))
        self.head = SegmentationHead(DECODER[-1], 2, dropout=dropout)
        self.neck = neck
        if bands:  # last, so that neck, decoder and head start the same with and without it
            self.stem = nn.Sequential(*_layer(bands, STEM), *_layer(STEM, STEM))
            self.join = nn.Sequential(*_layer(DECODER[-1] + STEM, DECODER[-1]))
        self.skips = bands > 0

    def forward(self, maps: list[Tensor], padded: Sequence[int], size: Sequence[int], image: Tensor | None) -> Tensor:
        """Return logits (n, 2, y, x).

        Args:
            maps: of the encoder.
            padded: rows and columns that the encoder saw.
            size: rows and columns of the patch.
            image: what the encoder saw, (n, b, y, x); only the path at full resolution looks at it.
        """
        decoded = self.decoder(self.neck(maps) if self.neck else maps)
        if self.skips:
            decoded = interpolate(decoded, size=tuple(padded), mode="bilinear")
            decoded = self.join(torch.cat([decoded, self.stem(image)], 1))
        logits = self.head(decoded)
        if logits.shape[-2:] != tuple(padded):
            logits = interpolate(logits, size=tuple(padded), mode="bilinear")
        return center_crop(logits, tuple(size))


class Network(Backbone):
    """Toa to logits.

    Args:
        scale: standardises the bands.
        encoder: the backbone.
        segmenter: what comes after it.
    """

    def __init__(self, scale: _train.Scale, encoder: Encoder, segmenter: Segmenter) -> None:
        super().__init__(scale, encoder)
        self.segmenter = segmenter

    def forward(self, toa: Tensor, *coordinates: Tensor) -> Tensor:
        """Return logits (n, 2, y, x) of toa (n, b, y, x)."""
        image = pad(self.scale(toa), self.encoder)
        return self.segmenter(self.encoder(image, *coordinates), image.shape[-2:], toa.shape[-2:], image)


class Tail(nn.Module):
    """What learns behind a frozen backbone, from kept features.

    Args:
        network: whose modules are used, not copied.
        size: rows and columns of a patch.
    """

    def __init__(self, network: Network, size: Sequence[int]) -> None:
        super().__init__()
        self.scale, self.segmenter = network.scale, network.segmenter
        self.size, self.padded, self.step = tuple(size), padded(network.encoder, size), step(network.encoder)
        self.shapes = shapes(network.encoder, size)

    def forward(self, features: Tensor, toa: Tensor | None = None) -> Tensor:
        """Return logits (n, 2, y, x) of features (n, total); toa (n, b, y, x) for the path at full resolution."""
        image = None if toa is None else pad_images(self.scale(toa), self.step // 2, "reflect")
        return self.segmenter(unflatten(features.float(), self.shapes), self.padded, self.size, image)


def build_network(encoder: Encoder, scale: dict[str, list[float]], *, dropout: float, skip: bool, seed: int) -> Network:
    """Return the untrained network; neck, decoder and head of a seed are the same whatever the backbone's weights.

    Args:
        encoder: the backbone.
        scale: mean and std of each input band.
        dropout: before the last convolution.
        skip: whether the input bands also go past the backbone at full resolution.
        seed: of the random weights.
    """
    with _train.seeded(seed):
        segmenter = Segmenter(encoder, dropout, len(scale["mean"]) if skip else 0)
    return Network(_train.Scale(**scale), encoder, segmenter)


def freeze(network: Network, mode: str) -> dict[str, str]:
    """Stop the parts of FROZEN[mode] from learning; return the checksum of each.

    The norms of a frozen decoder, which starts from random weights, estimate mean and variance all the same, as they
    do in TerraTorch; these are not in its checksum.
    """
    parts = {part: network.get_submodule(part) for part in FROZEN[mode]}
    for name, part in parts.items():
        part.requires_grad_(False)
        if name != "encoder":
            _train.keep_estimating(part)
    return {name: checksum(part, buffers=name == "encoder") for name, part in parts.items()}


def step(encoder: Encoder) -> int:
    """Return what rows and columns are padded to a multiple of; tokens come in pairs, as the neck halves their map."""
    return encoder.multiple * (1 if encoder.pyramid else 2)


def padded(encoder: Encoder, size: Sequence[int]) -> tuple[int, ...]:
    """Return rows and columns of a patch of this size after padding."""
    return tuple(-(-length // step(encoder)) * step(encoder) for length in size)


def pad(image: Tensor, encoder: Encoder) -> Tensor:
    """Return the image (n, b, y, x) reflected on all sides to what the encoder and the decoder can take."""
    return pad_images(image, step(encoder) // 2, "reflect")  # TerraTorch doubles the number


def shapes(encoder: Encoder, size: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return (channels, rows, columns) of each map of a patch of this size."""
    last = len(encoder.channels) - 1
    cells = [encoder.multiple >> (last - place if encoder.pyramid else 0) for place in range(last + 1)]
    rows, columns = padded(encoder, size)
    return [(channels, rows // cell, columns // cell) for channels, cell in zip(encoder.channels, cells, strict=True)]


def unflatten(features: Tensor, shapes: Sequence[tuple[int, int, int]]) -> list[Tensor]:
    """Return the maps (n, channels, rows, columns) that `Backbone.features` made one row of."""
    sizes = [channels * rows * columns for channels, rows, columns in shapes]
    pieces = features.split(sizes, 1)
    return [piece.unflatten(1, shape) for piece, shape in zip(pieces, shapes, strict=True)]


def _layer(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
