"""Layers of cloud, smoke and dust as fields of optical depth at S1, drawn for one scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.simulator import fractal, optics, tables
from datasets.simulator.geometry import PIXEL, Grid
from datasets.simulator.regimes import TYPES, CloudType, Range, Regime


@dataclass(frozen=True)
class Layer:
    """One flat layer.

    Attributes:
        kind: a name of TYPES, "smoke" or "dust".
        phase: optics.LIQUID or ICE; optics.CLEAR for aerosol.
        height: km.
        depth: optical depth at S1 over the ground, the grid's shape plus `margin` on each side.
        margin: rows and columns.
        particles: what it consists of.
    """

    kind: str
    phase: int
    height: float
    depth: np.ndarray
    margin: tuple[int, int]
    particles: optics.Particles

    @property
    def is_cloud(self) -> bool:
        """Whether the layer counts for the truth mask."""
        return self.phase != optics.CLEAR


def draw_layers(rng: np.random.Generator, regime: Regime, grid: Grid, relief: np.ndarray, air: float) -> list[Layer]:
    """Draw the layers of a scene, lowest first.

    Args:
        rng: of the scene.
        regime: which types, with what probability.
        grid: of the scene.
        relief: (y, x) on the grid, positive on land and negative over water.
        air: temperature at the surface in K; cloud tops stay below the tropopause.
    """
    kinds = [kind for kind, chance in regime.layers if rng.random() < chance][:3]
    ceiling = (air - tables.TROPOPAUSE) / tables.LAPSE
    layers = [_cloud(rng, kind, grid, relief, ceiling) for kind in kinds]
    if regime.aerosol:
        layers.append(_aerosol(rng, regime.aerosol, grid))
    return sorted(layers, key=lambda layer: layer.height)


def _cloud(rng: np.random.Generator, kind: str, grid: Grid, relief: np.ndarray, ceiling: float) -> Layer:
    cloud = TYPES[kind]
    height = min(rng.uniform(*cloud.height), ceiling)
    margin = grid.margin(height)
    shape = (grid.shape[0] + 2 * margin[0], grid.shape[1] + 2 * margin[1])
    mean = _log_uniform(rng, cloud.depth)
    if cloud.pattern == "lines":
        depth = mean * _contrails(rng, shape)
    else:
        field = _pattern(rng, cloud, shape) + cloud.tilt * rng.uniform(0, 1) * _ramp(rng, shape)
        if cloud.land:
            field = field + cloud.land * _pad(np.clip(relief, -1, 1), margin)
        depth = mean * fractal.broken(field, rng.uniform(*cloud.cover), cloud.spread)
    particles = optics.cloud(cloud.phase, rng.uniform(*cloud.radius), mean)
    return Layer(kind, cloud.phase, height, np.minimum(depth, 150.0).astype(np.float32), margin, particles)


def _log_uniform(rng: np.random.Generator, limits: Range) -> float:
    return float(np.exp(rng.uniform(*np.log(limits))))


def _pad(field: np.ndarray, margin: tuple[int, int]) -> np.ndarray:
    return np.pad(field, ((margin[0],) * 2, (margin[1],) * 2), mode="edge")


def _ramp(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Return a plane from -1 to 1 (at most) in a random direction: the weather changes across a scene."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in shape)
    return np.float32(np.sin(angle)) * y[:, None] + np.float32(np.cos(angle)) * x[None]


def _pattern(rng: np.random.Generator, cloud: CloudType, shape: tuple[int, int]) -> np.ndarray:
    """Return the field whose high values are cloud, of about unit variance."""
    scale = rng.uniform(*cloud.scale) / PIXEL
    angle = rng.uniform(0, np.pi)
    if cloud.pattern in ("closed", "open"):
        first, second = fractal.cells(rng, shape, scale)
        cellular = 0.55 - first if cloud.pattern == "closed" else 0.35 - (second - first)
        return 5 * cellular + 0.4 * fractal.gaussian(rng, shape, cloud.exponent, scale)
    field = fractal.gaussian(rng, shape, cloud.exponent, scale, rng.uniform(*cloud.stretch), angle)
    if cloud.pattern == "ripples":
        return field + 0.8 * _ripples(rng, shape, angle)
    if cloud.pattern == "clusters":
        return field + 0.9 * fractal.smooth(rng, shape, 3.0, outer=rng.uniform(40, 120) / PIXEL)
    return field


def _ripples(rng: np.random.Generator, shape: tuple[int, int], angle: float) -> np.ndarray:
    """Return wave clouds 2 to 6 km apart, in patches, their crests bent and broken."""
    y, x = (np.arange(side, dtype=np.float32) for side in shape)
    bend = fractal.smooth(rng, shape, 3.0, outer=160)
    phase = (np.float32(np.cos(angle)) * y[:, None] - np.float32(np.sin(angle)) * x[None]) * np.float32(
        2 * np.pi * PIXEL / rng.uniform(2, 6)
    )
    return np.sin(phase + 3 * bend) * np.clip(fractal.smooth(rng, shape, 3.0, outer=120), 0, 1.5)


def _contrails(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Return 2 to 8 lines 250 m to 1.5 km wide (1 to 3 pixels of 500 m), 1 at their core, fading in and out."""
    y, x = (np.arange(side, dtype=np.float32) for side in shape)
    bend = 6 * fractal.smooth(rng, shape, 3.5)
    patches = np.clip(0.8 + 0.6 * fractal.smooth(rng, shape, 8 / 3, outer=120), 0, 1)
    depth = np.zeros(shape, np.float32)
    corridor = rng.uniform(0, np.pi)
    for _ in range(rng.integers(2, 9)):
        angle = corridor + rng.normal(0, 0.3)
        row, column = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        across = np.float32(np.cos(angle)) * (y[:, None] - np.float32(row)) - np.float32(np.sin(angle)) * (
            x[None] - np.float32(column)
        )
        width = np.float32(rng.uniform(1.0, 3.0))
        depth += np.exp(-0.5 * ((across + bend) / width) ** 2) * np.float32(rng.uniform(0.5, 1.0))
    return depth * patches


def _aerosol(rng: np.random.Generator, kind: str, grid: Grid) -> Layer:
    height = rng.uniform(*tables.AEROSOL_HEIGHT)
    margin = grid.margin(height)
    shape = (grid.shape[0] + 2 * margin[0], grid.shape[1] + 2 * margin[1])
    if kind == "smoke":
        depth = _log_uniform(rng, tables.SMOKE_DEPTH) * _plumes(rng, shape)
        particles = optics.smoke(rng.uniform(*tables.SMOKE_ANGSTROM), rng.uniform(*tables.SMOKE_ALBEDO))
    else:
        field = fractal.gaussian(rng, shape, 3.2, 150 / PIXEL, 3.0, rng.uniform(0, np.pi)) + 0.8 * _ramp(rng, shape)
        depth = _log_uniform(rng, tables.DUST_DEPTH) * fractal.broken(field, rng.uniform(0.4, 1.0), 0.3)
        particles = optics.dust(rng.uniform(*tables.DUST_ANGSTROM), rng.uniform(*tables.DUST_ALBEDO))
    return Layer(kind, optics.CLEAR, height, np.minimum(depth, 5.0).astype(np.float32), margin, particles)


def _plumes(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Return smoke blown from 1 to 4 fires: plumes that widen, meander and thin downwind, about 1 at their core."""
    y, x = (np.arange(side, dtype=np.float32) for side in shape)
    wind = rng.uniform(0, 2 * np.pi)
    cos, sin = np.float32(np.cos(wind)), np.float32(np.sin(wind))
    meander = fractal.smooth(rng, shape, 3.2, outer=200)
    puffs = np.exp(0.5 * fractal.gaussian(rng, shape, 8 / 3, outer=100))
    total = np.zeros(shape, np.float32)
    for _ in range(rng.integers(1, 5)):
        row, column = (np.float32(side * rng.uniform(0.15, 0.85)) for side in shape)
        along = np.maximum(cos * (x[None] - column) + sin * (y[:, None] - row), 0)
        width = 4 + np.float32(rng.uniform(0.08, 0.2)) * along
        across = cos * (y[:, None] - row) - sin * (x[None] - column) + 0.6 * width * meander * (along > 0)
        rise = -np.expm1(-along / 4)
        total += rise * np.sqrt(12 / (8 + width)) * np.exp(-0.5 * (across / width) ** 2)
    return np.minimum(total, 1.5) * puffs
