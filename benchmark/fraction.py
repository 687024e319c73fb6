"""Cloud fraction: how far a mask's share of cloud is from that of the truth in tiles, from sums a patch.

A tile is a whole patch or a block of 32 x 32 or 64 x 64 pixels of it; blocks begin in its first corner, and what is
left of the patch at the other edges is in none. Its share is that among pixels with truth; a tile where less than half
of them have it is left out. All tiles count alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmark.api import CLOUD, IGNORE

PATCH = "patch"
TILES = (PATCH, "32", "64")
FIELDS = ("tiles", "error", "squared")  # of a patch: how many tiles, sums of predicted minus true share and its square
SCORES = tuple(f"fraction_{score}_{tile}" for score in ("bias", "rmse") for tile in TILES)
KNOWN = 0.5  # share of a tile's pixels that must have truth
_DIGITS = 9  # decimals of a sum that records keep


def sums(cloud: np.ndarray, mask: np.ndarray) -> dict[str, list[list[float]]]:
    """Return FIELDS of each patch by tile; blocks larger than a patch are left out.

    Args:
        cloud: (n, y, x) bool, the prediction.
        mask: (n, y, x) uint8 of CLEAR, CLOUD or IGNORE.
    """
    rows, columns = mask.shape[1:]
    sizes = {tile: (rows, columns) if tile == PATCH else (int(tile), int(tile)) for tile in TILES}
    known = mask != IGNORE
    wrong = (cloud & known).astype(np.int8) - (mask == CLOUD)
    return {tile: _sums(wrong, known, size) for tile, size in sizes.items() if size[0] <= rows and size[1] <= columns}


def _sums(wrong: np.ndarray, known: np.ndarray, size: tuple[int, int]) -> list[list[float]]:
    """Return FIELDS of each patch for tiles of one size."""
    pixels, excess = _blocks(known, size), _blocks(wrong, size)
    used = pixels >= KNOWN * size[0] * size[1]
    error = np.where(used, excess / np.maximum(pixels, 1), 0.0)
    totals = zip(used.sum(1), error.sum(1), (error**2).sum(1), strict=True)
    return [[int(tiles), round(float(bias), _DIGITS), round(float(square), _DIGITS)] for tiles, bias, square in totals]


def _blocks(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the sums of the whole blocks of each patch, (n, blocks)."""
    down, across = (length // step for length, step in zip(values.shape[1:], size, strict=True))
    whole = values[:, : down * size[0], : across * size[1]]
    return (
        whole.reshape(len(values), down, size[0], across, size[1]).sum((2, 4), dtype=np.int64).reshape(len(values), -1)
    )


def scores(sums: Mapping[str, Sequence[Any] | np.ndarray]) -> dict[str, np.ndarray]:
    """Return SCORES of summed sums {tile: (..., FIELDS)}, each (...): mean error and its root mean square.

    The bias is positive where there is too much cloud; both are NaN where there is no tile.
    """
    found = {}
    for tile, each in sums.items():
        tiles, error, squared = np.moveaxis(np.asarray(each, np.float64), -1, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            found[f"fraction_bias_{tile}"] = error / tiles
            found[f"fraction_rmse_{tile}"] = np.sqrt(squared / tiles)
    return found
