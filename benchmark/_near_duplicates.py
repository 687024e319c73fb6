"""Patches that show the same thing again, whichever way they lie, and with noise on them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy.ndimage import minimum_filter, uniform_filter

from benchmark.api import ELEVATION

GRID = 32  # cells a side of the small image that stands for a patch
REACH = 2  # cells that the filter looks to each side
CLIP = 3.0  # robust deviations: one cloud in a clear sky, or one coast, must not decide alone
FAINT = 1e-5  # spread, in units of the band, that may be rounding
# Correlation from which two patches are the same, set by what was seen: 36 Landsat and 144 simulated patches of other
# scenes stayed below 0.14; of their turned copies with noise of 0.01 in reflectance and 0.5 K, 89 % and all were above.
ALIKE = 0.7
_BLOCK = 512  # patches compared at once


def pairs(
    toa: Sequence[np.ndarray] | np.ndarray, parts: Sequence[Sequence[int]], units: Sequence[str]
) -> list[tuple[int, int, float]]:
    """Return positions of nearly equal patches of two parts, and their correlation, the most alike first.

    Patches are compared by the correlation of their small images over all bands, in each of the eight ways that flips
    and quarter turns lay one on the other. Every pair is compared, so no index can miss one.

    Args:
        toa: patches (b, y, x), NaN where invalid.
        parts: positions of the patches of each part.
        units: quantity of each band.
    """
    found = []
    every = small_images(toa, [row for rows in parts for row in rows], units)
    images = np.split(every, np.cumsum([len(rows) for rows in parts])[:-1])
    for one, other in combinations(range(len(parts)), 2):
        for begin in range(0, len(parts[one]), _BLOCK):
            alike = correlation(images[one][begin : begin + _BLOCK], images[other])
            places = zip(*np.nonzero(alike >= ALIKE), strict=True)
            found += [(parts[one][begin + a], parts[other][b], float(alike[a, b])) for a, b in places]
    return sorted(found, key=lambda pair: -pair[2])


def small_images(toa: Sequence[np.ndarray] | np.ndarray, rows: Sequence[int], units: Sequence[str]) -> np.ndarray:
    """Return a small image of each patch, (n, b, g, g) float32 of unit length; 0 where no cell can be judged.

    A cell is judged if more than half of its pixels and of those around it are valid.

    Means over cells, less what their surroundings tell of them (twice less the mean over 3 by 3 cells: gradients and
    glint, which any two seas under one sun share, are smooth), less rows' and columns' medians (a sensor's stripes);
    outliers are clipped. What is left is texture, and where there is none the noise, which differs. Elevation is left
    out: one place in two weathers is no copy.
    """
    measured = [place for place, unit in enumerate(units) if unit != ELEVATION]
    size = toa[rows[0]].shape[1:]
    down, across = (_cells(side, min(GRID, min(size) // 2)) for side in size)
    found = np.stack([_cell_means(np.asarray(toa[row])[measured], down, across) for row in rows])
    images, valid = found[:, :-1], found[:, -1:] > 0.5
    for _ in range(2):
        images = images - uniform_filter(images, (0, 0, 3, 3), mode="nearest")
    judged = minimum_filter(valid, (0, 0, 2 * REACH + 1, 2 * REACH + 1), mode="constant", cval=0)
    inside = np.where(judged, images, np.nan)[..., REACH:-REACH, REACH:-REACH]
    return _unit(_clipped(inside), [units[place] for place in measured])


def _cells(size: int, count: int) -> np.ndarray:
    """Return the means over cells of equal width as a matrix, (count, size); a pixel on an edge is shared out."""
    edges = np.linspace(0, size, count + 1)
    pixel = np.arange(size)
    shared = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return (np.clip(shared, 0, None) * count / size).astype(np.float32)


def _cell_means(patch: np.ndarray, down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Return the means of a patch (b, y, x) over cells and, last, the share of valid pixels, (b + 1, g, g)."""
    valid = np.isfinite(patch[0])
    if not valid.all():
        level = patch[:, valid].mean(1) if valid.any() else np.zeros(len(patch), np.float32)
        patch = np.where(valid, patch, level[:, None, None])
    return down @ np.concatenate([patch, valid[None]], dtype=np.float32) @ across.T


def _clipped(images: np.ndarray) -> np.ndarray:
    """Return images less the medians of rows and columns, outliers clipped, and 0 for cells that are NaN."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice encountered", RuntimeWarning)
        images = images - np.nanmedian(images, axis=-1, keepdims=True)
        images -= np.nanmedian(images, axis=-2, keepdims=True)
        spread = np.nan_to_num(np.nanmedian(np.abs(images), axis=(-2, -1), keepdims=True))
    limit = CLIP * np.where(spread > FAINT, spread, 0)
    return np.nan_to_num(np.clip(images, -limit, limit))


def _unit(images: np.ndarray, units: Sequence[str]) -> np.ndarray:
    """Return images of unit length, in which bands of another quantity weigh alike.

    Within a quantity a band that shows little, as one in a water-vapour line does, weighs little: what is there is
    mostly noise.
    """
    spread = np.median(np.median(np.abs(images), axis=(-2, -1)), axis=0)
    typical = np.array([max(spread[place] for place, other in enumerate(units) if other == unit) for unit in units])
    images = images / np.where(typical > 0, typical, 1)[:, None, None]
    length = np.sqrt(np.square(images).sum((1, 2, 3), keepdims=True))
    return (images / np.where(length > 0, length, 1)).astype(np.float32)


def correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the highest correlation over eight orientations, (n, m), of small images (n, b, g, g) and (m, b, g, g)."""
    flat = first.reshape(len(first), -1)
    best = np.full((len(first), len(second)), -1, np.float32)
    for turned in (second, second.swapaxes(-1, -2)):
        for turns in range(4):
            laid = np.rot90(turned, turns, (-2, -1)).reshape(len(second), -1)
            np.maximum(best, flat @ laid.T, out=best)
    return best
