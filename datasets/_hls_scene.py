"""One 30 m land scene as HLS gives it: ground, terrain light, at most one layer of cloud with its shadow, sensor.

Nothing of the air is added, as HLS is corrected for it; the sensor looks straight down and north is up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets import _hls_tables as hls
from datasets._hls_land import Ground, draw_ground
from datasets.simulator import fractal, instrument, optics, scene, tables
from datasets.simulator.geometry import BORDER
from datasets.simulator.optics import Fluxes, Place
from datasets.simulator.regimes import TYPES, CloudType

_SPACE = 30  # sets the seeds apart from those of the simulated SLSTR scenes


@dataclass(frozen=True)
class Patch:
    """One scene, which is one patch: reflectance (band, y, x), truth and surface class (y, x), time and place."""

    regime: str
    toa: np.ndarray
    mask: np.ndarray
    surface: np.ndarray
    time: np.datetime64
    lat: float
    lon: float
    sun_zenith: float


@dataclass(frozen=True)
class Cloud:
    """A layer: what it does to light, its optical depth at S1 over each pixel and on the sun's way to it (y, x)."""

    fluxes: Fluxes
    above: np.ndarray
    sunward: np.ndarray


def simulate(seed: int, part: int, number: int, size: int) -> Patch:
    """Simulate one scene; the result depends on nothing but the arguments.

    Args:
        seed: of the data set.
        part: number of the part (train, val, test).
        number: of the scene in its part; the kinds of land take turns.
        size: rows and columns.
    """
    land = hls.DECK[number % len(hls.DECK)]
    rng = np.random.default_rng(np.random.SeedSequence([seed, part, number, _SPACE]))
    latitude, day, zenith, azimuth = scene.draw_sun(rng, land.regime)
    shape = (size + 2 * BORDER, size + 2 * BORDER)
    ground = draw_ground(rng, land, shape)
    cloud = draw_cloud(rng, land, shape, zenith, azimuth)
    light = terrain_light(ground, zenith, azimuth)
    toa = np.stack([measure(rng, reflectance(ground, cloud, light, band), size) for band in range(len(hls.BANDS))])
    inner = slice(BORDER, -BORDER)
    depth = np.zeros(shape) if cloud is None else cloud.above
    mask = (depth[inner, inner] > tables.CLOUD_DEPTH).astype(np.uint8)
    longitude = rng.uniform(-180, 180)
    time = _moment(rng, day, longitude)
    return Patch(land.regime.name, toa, mask, ground.kind[inner, inner].copy(), time, latitude, longitude, zenith)


def _moment(rng: np.random.Generator, day: float, longitude: float) -> np.datetime64:
    midnight = np.datetime64(f"{rng.integers(2015, 2025)}-01-01", "s") + np.timedelta64(int(day), "D")
    return midnight + np.timedelta64(int(3600 * ((tables.LOCAL_TIME - longitude / 15) % 24)), "s")


def draw_cloud(
    rng: np.random.Generator, land: hls.Land, shape: tuple[int, int], zenith: float, azimuth: float
) -> Cloud | None:
    """Draw the layer of a scene, or None: of the regime's types in their order, the first whose chance comes.

    Args:
        rng: of the scene.
        land: kind of scene.
        shape: rows and columns of 30 m.
        zenith: of the sun, degrees.
        azimuth: of the sun, degrees clockwise from up.
    """
    kind = next((TYPES[name] for name, chance in land.regime.layers if rng.random() < chance), None)
    if kind is None:
        return None
    length = rng.uniform(*kind.height) * np.tan(np.radians(zenith)) / hls.PIXEL
    down, right = (int(length * step) for step in (-np.cos(np.radians(azimuth)), np.sin(np.radians(azimuth))))
    depth, particles = _layer(rng, kind, (shape[0] + abs(down), shape[1] + abs(right)))
    above, sunward = (
        depth[row : row + shape[0], column : column + shape[1]]
        for row, column in ((max(-down, 0), max(-right, 0)), (max(down, 0), max(right, 0)))
    )
    return Cloud(optics.fluxes(particles, float(np.cos(np.radians(zenith)))), above, sunward)


def _layer(rng: np.random.Generator, kind: CloudType, shape: tuple[int, int]) -> tuple[np.ndarray, optics.Particles]:
    """Return a layer's optical depth at S1 (y, x), and what it consists of."""
    outer = rng.uniform(*hls.CLOUD_SCALE) / hls.PIXEL
    field = fractal.gaussian(rng, shape, kind.exponent, outer, rng.uniform(*kind.stretch), rng.uniform(0, np.pi))
    mean = float(np.exp(rng.uniform(*np.log(kind.depth))))
    depth = mean * fractal.broken(field, rng.uniform(*hls.COVER), kind.spread)
    particles = optics.cloud(kind.phase, rng.uniform(*kind.radius), mean)
    return np.minimum(depth, 150.0).astype(np.float32), particles


def terrain_light(ground: Ground, zenith: float, azimuth: float) -> np.ndarray:
    """Return the direct sunlight on the slopes over that on the level, (y, x) float32; slopes cast no shadows."""
    tangent, angle = np.tan(np.radians(zenith)), np.radians(azimuth)
    down, right = ground.slope
    towards = down * np.cos(angle) - right * np.sin(angle)  # the sun stands up the rows at azimuth 0
    return (np.maximum(1 + tangent * towards, 0) / np.sqrt(1 + down**2 + right**2)).astype(np.float32)


def reflectance(ground: Ground, cloud: Cloud | None, light: np.ndarray, band: int) -> np.ndarray:
    """Return the reflectance without air of one of the HLS bands, (y, x) float32.

    Under the layer the equations are those of `simulator.render.Sky` with one layer and no air.
    """
    albedo, sky = ground.albedo[band], hls.SKY_LIGHT[band]
    slopes = light + (1 - light) * sky
    if cloud is None:
        return albedo * slopes
    fluxes, column = cloud.fluxes, hls.COLUMNS[band]
    above, sunward = Place.of(cloud.above), Place.of(cloud.sunward)
    own, slanted = above.read(fluxes.direct[column]), sunward.read(fluxes.direct[column])
    beam = own * (slanted + np.maximum(own - slanted, 0) * sky) + (1 - own) * own
    up = albedo * slopes * beam
    back = above.read(fluxes.reflected_diffuse[column])
    down = (above.read(fluxes.diffused[column]) + back * up) / (1 - back * albedo)
    return above.read(fluxes.reflected[column]) + above.read(fluxes.transmitted_diffuse[column]) * (up + albedo * down)


def measure(rng: np.random.Generator, fine: np.ndarray, size: int) -> np.ndarray:
    """Return what the sensor measures, (size, size) float32: blurred over the neighbours, with noise."""
    blurred = instrument.resample(fine, 1, hls.POINT_SPREAD, (0, 0), (size, size))
    return blurred + np.float32(hls.NOISE) * rng.standard_normal((size, size), dtype=np.float32)
