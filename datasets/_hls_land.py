"""The ground of a 30 m land scene: cover, fields, terrain and lakes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets import _hls_tables as hls
from datasets.simulator import fractal, tables


@dataclass(frozen=True)
class Ground:
    """What lies under the clouds.

    Attributes:
        kind: class, an index of the simulator's SURFACE_NAMES, (y, x) uint8.
        albedo: Lambertian, (band, y, x) float32.
        slope: rise of the terrain per length down the rows and along the columns, (2, y, x); 0 on water.
    """

    kind: np.ndarray
    albedo: np.ndarray
    slope: np.ndarray


def draw_ground(rng: np.random.Generator, land: hls.Land, shape: tuple[int, int]) -> Ground:
    """Draw the ground of a scene, `shape` in pixels of 30 m."""
    exponent, largest = hls.MOSAIC
    mosaic = fractal.gaussian(rng, shape, exponent, outer=largest / hls.PIXEL)
    height = fractal.gaussian(rng, shape, hls.TERRAIN)
    kind = _covers(land, height + mosaic / 2)
    water = height < np.quantile(height, land.regime.lakes)
    kind[water] = tables.TURBID_WATER
    slope = np.stack(np.gradient(height))
    slope *= rng.uniform(*land.slope) / max(float(slope.std()), 1e-6)
    return Ground(kind, _albedo(rng, kind, mosaic), np.where(water, np.float32(0), slope))


def _covers(land: hls.Land, gradient: np.ndarray) -> np.ndarray:
    """Return the regime's covers in their shares, from the lowest place to the highest."""
    names = np.array([kind for kind, _ in land.regime.covers], np.uint8)
    edges = np.cumsum([share for _, share in land.regime.covers])[:-1]
    return names[np.searchsorted(np.quantile(gradient, edges), gradient)]


def _albedo(rng: np.random.Generator, kind: np.ndarray, mosaic: np.ndarray) -> np.ndarray:
    """Return the albedo of classes with their variation; a field is green cover over soil, in one proportion."""
    albedo = hls.ALBEDO[kind]
    fields = kind == tables.CROP
    if fields.any():
        green = parcels(rng, kind.shape)[..., None]
        albedo = np.where(fields[..., None], green * hls.ALBEDO[tables.VEGETATION] + (1 - green) * hls.SOIL, albedo)
    grown = np.isin(kind, tables.GREEN_CLASSES)[..., None]
    variation = np.clip(hls.VARIATION / 2 * mosaic, -0.3, 0.3)[..., None]
    albedo = albedo * (1 + np.where(grown, hls.GREENING, np.float32(1)) * variation)
    return np.ascontiguousarray(np.moveaxis(np.clip(albedo, 0, 0.98), -1, 0), np.float32)


def parcels(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Return the share of green cover of the field that each pixel lies in, (y, x) float32 in [0, 1].

    Fields are rectangles of two sides in rows that bend with the land.
    """
    bend = 4 * fractal.smooth(rng, shape, 4.0)
    angle, sides = rng.uniform(0, np.pi / 2), rng.uniform(*hls.PARCEL, 2) / hls.PIXEL
    y, x = np.arange(shape[0])[:, None], np.arange(shape[1])[None]
    row = np.floor((np.cos(angle) * y + np.sin(angle) * x + bend) / sides[0]).astype(np.int64)
    column = np.floor((np.cos(angle) * x - np.sin(angle) * y + bend) / sides[1]).astype(np.int64)
    row, column = row - row.min(), column - column.min()
    concentration = 1.2  # below 2 most fields are nearly bare or nearly closed, as between harvests
    mean = hls.GREEN_PARCELS * concentration
    values = rng.beta(mean, concentration - mean, (row.max() + 1, column.max() + 1)).astype(np.float32)
    return values[row, column]
