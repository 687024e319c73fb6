"""Tokens of a backbone at the places of pixels: sampled for training a probe, and on a lattice for its masks."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
import torch
from torch.nn.functional import grid_sample, interpolate

from benchmark.api import CLOUD, IGNORE, Features, NotRun, Part
from models import _segmenter
from models._encoder import Encoder

CELL = 4  # pixels on a side of a lattice cell: those of the finest map that TerraTorch's UNet decoder has of tokens


def at(maps: np.ndarray, y: np.ndarray, x: np.ndarray, size: Sequence[int], padded: Sequence[int]) -> np.ndarray:
    """Return the maps at points of the patch, bilinear, (n, k, channels) float32.

    Args:
        maps: (n, rows, columns, channels) of patches as padded; beyond the centre of an outer cell it keeps its value.
        y: (k,) in pixels from the upper edge of the patch; the centre of the first pixel is at 0.5.
        x: likewise from the left edge.
        size: rows and columns of the patch.
        padded: rows and columns that the backbone saw.
    """
    rows, columns = (
        (point + (big - small) // 2) * 2 / big - 1 for point, big, small in zip((y, x), padded, size, strict=True)
    )
    points = torch.from_numpy(np.stack([columns, rows], -1).astype(np.float32)).expand(len(maps), 1, -1, -1)
    images = torch.from_numpy(np.asarray(maps, np.float32)).permute(0, 3, 1, 2)
    found = grid_sample(images, points, mode="bilinear", padding_mode="border", align_corners=False)
    return found[:, :, 0].transpose(1, 2).contiguous().numpy()


def centres(counts: Sequence[int], size: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return y and x of the centres of equal cells, row by row, for `at`.

    Args:
        counts: rows and columns of cells.
        size: rows and columns of the patch that they cover.
    """
    y, x = ((np.arange(count) + 0.5) * length / count for count, length in zip(counts, size, strict=True))
    return np.repeat(y, len(x)), np.tile(x, len(y))


def lattice(size: Sequence[int]) -> tuple[int, int]:
    """Return rows and columns of the lattice on which a patch is judged."""
    rows, columns = (ceil(length / CELL) for length in size)
    return rows, columns


def on_patch(maps: np.ndarray, encoder: Encoder, size: Sequence[int]) -> np.ndarray:
    """Return maps (n, rows, columns, channels) of patches as padded on cells that cover the patches alone."""
    padded = _segmenter.padded(encoder, size)
    if padded == tuple(size):
        return maps
    counts = [ceil(length / encoder.multiple) for length in size]
    return at(maps, *centres(counts, size), size, padded).reshape(len(maps), *counts, -1)


def upsample(probability: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Return (n, y, x) float32 of a probability (n, k) on the lattice, bilinear."""
    image = torch.from_numpy(probability.astype(np.float32)).view(len(probability), 1, *lattice(size))
    return interpolate(image, size=tuple(size), mode="bilinear")[:, 0].numpy()


def sample(part: Part, features: Features, encoder: Encoder, pixels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the last map at labelled pixels, (k, channels) float32, and where cloud is, (k,) bool.

    Args:
        part: patches and their truth.
        features: of these patches, every map one after the other.
        encoder: tells the maps.
        pixels: how many at most, as evenly over the patches as they allow.
        seed: of the choice.

    Raises:
        NotRun: the pixels are all of one class.
    """
    generator, size = np.random.default_rng(seed), part.images.shape[-2:]
    padded, (channels, *grid) = _segmenter.padded(encoder, size), _segmenter.shapes(encoder, size)[-1]
    labelled = np.array([np.count_nonzero(part.masks(row) != IGNORE) for row in range(len(part))])
    shares = _shares(labelled, pixels)
    values = np.empty((shares.sum(), channels), np.float32)
    cloud = np.empty(len(values), bool)
    for row, begin in zip(np.flatnonzero(shares), _starts(shares), strict=True):
        mask, end = part.masks(row)[0], begin + shares[row]
        chosen = np.sort(generator.choice(np.flatnonzero(mask != IGNORE), shares[row], replace=False))
        last = features[row : row + 1][:, -channels * grid[0] * grid[1] :].reshape(1, channels, *grid)
        y, x = np.divmod(chosen, size[1])
        values[begin:end] = at(last.transpose(0, 2, 3, 1), y + 0.5, x + 0.5, size, padded)[0]
        cloud[begin:end] = mask.ravel()[chosen] == CLOUD
    if cloud.all() or not cloud.any():
        raise NotRun("the labelled training pixels are all of one class, or there are none; a probe needs both")
    return values, cloud


def _starts(shares: np.ndarray) -> np.ndarray:
    taken = shares[shares > 0]
    return np.cumsum(taken) - taken


def _shares(available: np.ndarray, total: int) -> np.ndarray:
    """Return how many to take of each: the same of all, and all where there are fewer, `total` together at most."""
    out = np.zeros(len(available), np.int64)
    for done, place in enumerate(np.argsort(available, kind="stable")):
        out[place] = min(available[place], (total - out.sum()) // (len(available) - done))
    return out
