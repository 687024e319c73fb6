"""The relief of a simulated SLSTR scene, and what height does to its ground: colder, with snow above a snow line."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from datasets import _relief_tables as relief
from datasets.simulator import atmosphere, fractal, tables
from datasets.simulator.geometry import Grid
from datasets.simulator.surface import Surface


@dataclass(frozen=True)
class Ground:
    """A surface on relief.

    Attributes:
        surface: its classes and temperatures are those at `height`; `air` and `water` stay those above the sea.
        height: of the ground, km above the sea, (y, x) float32.
    """

    surface: Surface
    height: np.ndarray


def draw_ground(rng: np.random.Generator, surface: Surface, grid: Grid, latitude: float, day: float) -> Ground:
    """Raise a surface that was drawn for level ground."""
    height = draw_height(rng, surface.relief, grid.shape)
    edge = relief.SNOW_EDGE * fractal.gaussian(rng, grid.shape, 8 / 3)
    kind = _with_snow(surface, height + edge > snow_line(latitude, day))
    temperature = _temperature(rng, surface, kind, height)
    return Ground(replace(surface, kind=kind, temperature=temperature), height)


def draw_height(rng: np.random.Generator, land: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return heights in km, (y, x) float32: 0 where `land` is not positive, and rising from the coast inland."""
    from scipy.special import ndtr  # not above: the catalogue is not to wait for it

    highest = rng.uniform(*relief.HIGHEST)
    lowest = highest * rng.uniform(*relief.LOWEST)
    rank = ndtr(fractal.gaussian(rng, shape, relief.TERRAIN_SPECTRUM))
    inland = np.clip(land / relief.COAST, 0, 1)
    return (inland * (lowest + (highest - lowest) * rank**relief.HYPSOMETRY)).astype(np.float32)


def snow_line(latitude: float, day: float) -> float:
    """Return the height in km above which the ground is white: where the season's mean air is as cold as SNOW_AIR."""
    air = atmosphere.surface_air(latitude, day)
    return max((air - relief.SNOW_AIR) / tables.LAPSE, relief.LOWEST_SNOW_LINE)


def _with_snow(surface: Surface, white: np.ndarray) -> np.ndarray:
    """Return the classes with snow on the land that is white, and ice on its lakes; the sea stays as it is."""
    inland = surface.relief > 0
    lake = surface.kind == tables.TURBID_WATER
    covered = np.where(lake, tables.SEA_ICE, tables.SNOW)
    return np.where(inland & white, covered, surface.kind).astype(np.uint8)


def _temperature(rng: np.random.Generator, surface: Surface, kind: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Return skin temperatures in K, (y, x) float32: the lapse rate takes them down, melting holds snow and lakes.

    Ground that became white is colder than its air, as snow on level ground is, and no longer heated by the sun.
    """
    fall = tables.LAPSE * height
    cooled = surface.temperature - fall
    cold = surface.air - fall - rng.uniform(*tables.SURFACE_INVERSION)
    cooled = np.where(kind != surface.kind, np.minimum(cold, relief.MELTING), cooled)
    lake = (kind == tables.TURBID_WATER) & (height > 0)
    return np.where(lake, np.maximum(cooled, relief.MELTING), cooled).astype(np.float32)
