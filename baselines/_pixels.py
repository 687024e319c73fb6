"""Patches to rows of pixels and back: what every per-pixel method shares.

A row holds the bands of one pixel in the order of `Images.read`, and with context also the mean and the standard
deviation of each band over the valid pixels of its 3x3 window.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from benchmark.api import CLOUD, IGNORE, Images, Part, UserError

LAND, WATER, UNKNOWN = 1, 0, 255
BATCH = 4  # patches read at once when predicting: memory does not grow with the number of patches
CHUNK = 16_384  # rows a thread predicts at once: small enough to stay in the processor's cache


@dataclass(frozen=True)
class Pixels:
    """Rows of pixels.

    Attributes:
        values: (k, features) float32, NaN where invalid.
        names: name of each feature: the role, or `<role>_mean` and `<role>_std` of its 3x3 window.
        land: (k,) uint8, 1 land, 0 water, 255 unknown.
    """

    values: np.ndarray
    names: tuple[str, ...]
    land: np.ndarray

    def __getitem__(self, where: np.ndarray | slice) -> Pixels:
        return Pixels(self.values[where], self.names, self.land[where])

    def column(self, name: str) -> np.ndarray | None:
        """Return a feature by name, (k,), or None where these images lack it."""
        return self.values[:, self.names.index(name)] if name in self.names else None


def read(images: Images, where: slice, context: bool = False) -> Pixels:
    """Return every pixel of the patches at `where`, patch after patch, row after row."""
    toa, land = images.read(where), images.read_map("land", where)
    planes = np.moveaxis(toa, 1, -1)
    names = tuple(band.role for band in images.bands)
    if context:
        planes = np.concatenate([planes, np.stack([window(patch) for patch in planes])], axis=-1)
        names += tuple(f"{name}_{what}" for what in ("mean", "std") for name in names)
    values = np.ascontiguousarray(planes).reshape(-1, len(names))
    surface = np.full(len(values), UNKNOWN, np.uint8) if land is None else land.ravel()
    return Pixels(values, names, surface)


def window(patch: np.ndarray) -> np.ndarray:
    """Return mean and standard deviation over the valid pixels of each 3x3 window, (y, x, 2b), of a patch (y, x, b).

    NaN where the centre is invalid. Sums are in float64: in float32 the variance of 300 K would be rounding noise.
    """
    valid = np.isfinite(patch)
    filled = np.where(valid, patch, 0).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        count = _box(valid.astype(np.float64))
        mean = _box(filled) / count
        variance = np.maximum(_box(filled**2) / count - mean**2, 0)
    both = np.concatenate([mean, np.sqrt(variance)], axis=-1).astype(np.float32)
    return np.where(np.concatenate([valid, valid], axis=-1), both, np.nan)


def _box(planes: np.ndarray) -> np.ndarray:
    """Return sums over 3x3 windows of planes (y, x, b), zero outside the patch."""
    import cv2

    sums = [
        cv2.boxFilter(planes[..., b], -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
        for b in range(planes.shape[-1])
    ]
    return np.stack(sums, axis=-1)


def sample(part: Part, pixels: int, seed: int, context: bool = False) -> tuple[Pixels, np.ndarray]:
    """Return at most `pixels` labelled pixels, drawn as evenly over the patches as they allow, and where cloud is.

    A patch with fewer labelled pixels than its share gives all of them, and the others fill up.

    Raises:
        UserError: no pixel is labelled.
    """
    generator = np.random.default_rng(seed)
    labelled = np.array([np.count_nonzero(part.masks(i) != IGNORE) for i in range(len(part))])
    if not labelled.sum():
        raise UserError("a part of the split has no labelled pixel")
    rows: list[Pixels] = []
    cloud: list[np.ndarray] = []
    for i, share in enumerate(shares(labelled, pixels)):
        if not share:
            continue
        mask = part.masks(i).ravel()
        chosen = np.sort(generator.choice(np.flatnonzero(mask != IGNORE), share, replace=False))
        rows.append(read(part.images, slice(i, i + 1), context)[chosen])
        cloud.append(mask[chosen] == CLOUD)
    values, land = np.concatenate([row.values for row in rows]), np.concatenate([row.land for row in rows])
    return Pixels(values, rows[0].names, land), np.concatenate(cloud)


def shares(available: np.ndarray, total: int) -> np.ndarray:
    """Return how many to take of each, as even as `available` allows, `total` together if there are so many."""
    out = np.zeros(len(available), np.int64)
    for done, i in enumerate(np.argsort(available, kind="stable")):
        out[i] = min(available[i], (total - out.sum()) // (len(available) - done))
    return out


def predict(images: Images, probability: Callable[[Pixels], np.ndarray], context: bool = False) -> np.ndarray:
    """Return (n, y, x) float32 cloud probabilities from a function of rows; 0 where every band is invalid."""
    n, _, height, width = images.shape
    out = np.zeros((n, height * width), np.float32)
    for start in range(0, n, BATCH):
        pixels = read(images, slice(start, start + BATCH), context)
        valid = np.isfinite(pixels.values).any(axis=1)
        if valid.any():
            out[start : start + BATCH].reshape(-1)[valid] = probability(pixels[valid])
    return out.reshape(n, height, width)


def threaded(probability: Callable[[np.ndarray], np.ndarray], values: np.ndarray) -> np.ndarray:
    """Return `probability` of rows, chunk by chunk on all cores.

    Threads over rows keep the answer the same to the bit; scikit-learn's threads over trees add in random order.
    """
    chunks = [values[start : start + CHUNK] for start in range(0, len(values), CHUNK)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.concatenate(list(pool.map(probability, chunks)))
