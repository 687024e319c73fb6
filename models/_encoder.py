"""What every backbone looks like to the neck, the decoder and the probes, whatever package it is from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from torch import Tensor, nn

from benchmark.api import REFLECTANCE, Band, Images, NotRun

# What LoRA adapts of a transformer with timm's names, once it has split the joint projection.
ADAPTED = ("attn.qkv.q_linear", "attn.qkv.v_linear", "mlp.fc1", "mlp.fc2")
DIGITAL_NUMBERS = 1e4  # of reflectance 1, in the products that backbones were pretrained on


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation per band that a backbone was trained with, in units of toa (fraction, kelvin).

    NaN where the backbone knows nothing of a band.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]


class Encoder(nn.Module, ABC):
    """A backbone that maps standardised patches to feature maps.

    Attributes:
        channels: of each map that `forward` gives.
        pyramid: whether each map has half the rows and columns of the one before it (a convolutional backbone); where
            not, all have one grid (a transformer's tokens).
        multiple: the input's rows and columns must be a multiple of this; the last map has one row for so many.
        statistics: what the input was standardised with in pretraining; None where the backbone does not say.
        adapted: names, or ends of names, of the linear layers that LoRA adapts; () where it cannot.
        recipe: plain values that the maps depend on and that are no parameter or buffer: layers taken, wavelengths.
    """

    channels: tuple[int, ...]
    pyramid: bool = False
    multiple: int = 16
    statistics: Statistics | None = None
    adapted: tuple[str, ...] = ()
    recipe: tuple[object, ...] = ()

    @abstractmethod
    def forward(self, toa: Tensor, *coordinates: Tensor) -> list[Tensor]:
        """Return maps (n, channels, rows, columns), the finest or first first, of standardised toa (n, b, y, x).

        Args:
            toa: without NaN.
            coordinates: time (n, 1, 2) and place (n, 2) as float32 where the backbone was built to take them.
        """


def quarters(depth: int) -> tuple[int, ...]:
    """Return the layer at each quarter of the depth; of fewer than four some more than once."""
    return tuple(max(0, depth * quarter // 4 - 1) for quarter in (1, 2, 3, 4))


def as_map(tokens: Tensor, grid: Sequence[int]) -> Tensor:
    """Return tokens (n, tokens, channels) as (n, channels, rows, columns), without those that stand before the grid."""
    return tokens[:, tokens.shape[1] - grid[0] * grid[1] :].transpose(1, 2).unflatten(2, list(grid))


def places(bands: Sequence[Band], roles: Sequence[str]) -> list[int | None]:
    """Return where each band's role stands among those of the pretraining; None where it does not."""
    return [roles.index(band.role) if band.role in roles and band.quantity == REFLECTANCE else None for band in bands]


def reflectance_statistics(mean: Sequence[float], std: Sequence[float], taken: Sequence[int | None]) -> Statistics:
    """Return the statistics at the places that are taken of tables in digital numbers, NaN for None."""

    def chosen(table: Sequence[float]) -> tuple[float, ...]:
        return tuple(float("nan") if place is None else table[place] / DIGITAL_NUMBERS for place in taken)

    return Statistics(chosen(mean), chosen(std))


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


def checksum(module: nn.Module, *, buffers: bool = True) -> str:
    """Return the SHA-256 of names, shapes and bytes of all parameters and, if asked for, of all buffers."""
    total = sha256()
    for name, value in module.state_dict().items() if buffers else module.named_parameters():
        array = value.detach().cpu().contiguous().numpy()
        total.update(f"{name} {array.dtype} {array.shape}".encode())
        total.update(array.reshape(-1).view(np.uint8).data)
    return total.hexdigest()
