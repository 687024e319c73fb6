"""From the fine grid to the pixels of SLSTR: point spread, noise, gains, striping, steps, copies, swath edge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.simulator import fractal, tables, thermal
from datasets.simulator.geometry import BORDER, PIXEL, Grid

FINE, COARSE = 2, 4  # pixels of the fine grid along a side of a 500 m and of a 1 km pixel


@dataclass(frozen=True)
class Instrument:
    """One draw of the instrument's faults, so that no method can lean on an absolute calibration.

    Attributes:
        spread: sigma of the point spread, pixels.
        offset: rows and columns of the fine grid by which the 1 km grid is displaced from the 500 m grid.
        gain: factor (S1..S6, detector).
        copies: source (y, x) of each 500 m pixel, as flat indices: itself, or the neighbour that was copied.
        coarse_copies: the same on the 1 km grid.
    """

    spread: float
    offset: tuple[int, int]
    gain: np.ndarray
    copies: np.ndarray
    coarse_copies: np.ndarray


def draw_instrument(rng: np.random.Generator, shape: tuple[int, int]) -> Instrument:
    """Draw an instrument for a scene of `shape` 500 m pixels."""
    bands = len(tables.REFLECTANCE_BANDS)
    gain = 1 + rng.choice([-1, 1], bands) * rng.uniform(*tables.GAIN_ERROR, bands)
    stripes = rng.normal(0, rng.uniform(*tables.STRIPING, bands), (tables.DETECTORS, bands)).T
    coarse = ((shape[0] + 1) // 2, (shape[1] + 1) // 2)
    return Instrument(
        rng.uniform(*tables.POINT_SPREAD),
        (int(rng.integers(-1, 2)), int(rng.integers(-1, 2))),
        gain[:, None] * (1 + stripes),
        _copies(rng, shape),
        _copies(rng, coarse),
    )


def _copies(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Return for each pixel the flat index of the pixel whose measurement it shows.

    The share of copies changes slowly with place; a copy is taken from the first neighbour that is no copy.
    """
    share = tables.COSMETIC_SHARE + tables.COSMETIC_RANGE * np.sin(2 * fractal.smooth(rng, shape, 3.0, outer=60))
    own = np.arange(shape[0] * shape[1], dtype=np.int32).reshape(shape)
    copied = rng.random(shape, dtype=np.float32) < share
    source, open_ = own.copy(), copied.copy()
    for axis, step in ((1, 1), (1, -1), (0, 1), (0, -1)):
        neighbour, filled = np.roll(own, step, axis), np.roll(copied, step, axis)
        edge = (slice(None), 0 if step > 0 else -1) if axis else (0 if step > 0 else -1, slice(None))
        filled[edge] = True
        take = open_ & ~filled
        source[take], open_ = neighbour[take], open_ & ~take
    return source


def kernel(factor: int, spread: float) -> np.ndarray:
    """Return the weights of a square pixel of `factor` fine pixels blurred by a Gaussian of `spread` pixels."""
    reach = factor + 1
    x = np.arange(-reach, reach + 1)
    weights = np.convolve(np.ones(factor), np.exp(-0.5 * (x / (spread * factor)) ** 2))
    return (weights / weights.sum()).astype(np.float32)


def resample(
    fine: np.ndarray, factor: int, spread: float, offset: tuple[int, int], shape: tuple[int, int]
) -> np.ndarray:
    """Return what pixels of `factor` fine pixels measure, (shape); `fine` carries BORDER on each side."""
    weights = kernel(factor, spread)
    lead = (len(weights) - factor) // 2
    for axis in (0, 1):
        start, count = BORDER + offset[axis] - lead, shape[axis]
        lines = [slice(start + k, start + k + factor * (count - 1) + 1, factor) for k in range(len(weights))]
        total = np.zeros((count, fine.shape[1]) if axis == 0 else (fine.shape[0], count), np.float32)
        for weight, line in zip(weights, lines, strict=True):
            total += weight * (fine[line] if axis == 0 else fine[:, line])
        fine = total
    return fine


def signal(
    rng: np.random.Generator, fine: np.ndarray, band: int, instrument: Instrument, sun: float, shape: tuple[int, int]
) -> np.ndarray:
    """Return pi L / E0 as one of S1..S6 measures it at 500 m, before it is digitised, (shape).

    The noise is half constant, half shot noise, and meets the required ratio at the required albedo. The first row is
    that of the first detector.
    """
    true = resample(fine, FINE, instrument.spread, (0, 0), shape) * np.float32(sun)
    variance = (tables.NOISE_ALBEDO / tables.NOISE_RATIO) ** 2 * 0.5 * (1 + true / tables.NOISE_ALBEDO)
    noise = np.sqrt(variance) * rng.standard_normal(shape, dtype=np.float32)
    gain = instrument.gain[band][np.arange(shape[0]) % tables.DETECTORS, None]
    return np.asarray((true + noise) * gain)


def measure_reflectance(
    rng: np.random.Generator, fine: np.ndarray, band: int, instrument: Instrument, sun: float
) -> np.ndarray:
    """Return the measured reflectance of one of S1..S6 at 500 m, divided by cos(sun zenith), (y, x) float32.

    Noise, steps and saturation act on pi L / E0.
    """
    step = np.pi * tables.RADIANCE_SCALE[band] / tables.SOLAR_IRRADIANCE[band]
    counts = np.rint(signal(rng, fine, band, instrument, sun, instrument.copies.shape) / step)
    return (np.clip(counts, -32767, 32767) * step / sun).astype(np.float32).ravel()[instrument.copies]


def temperature(
    rng: np.random.Generator,
    fine: np.ndarray,
    band: int,
    instrument: Instrument,
    shape: tuple[int, int],
    noise: tuple[float, float],
) -> np.ndarray:
    """Return the brightness temperature in one of S7..S9 as measured at 1 km, before it is digitised, (shape).

    `noise` is the noise-equivalent temperature difference in K, and the temperature at which it is that.
    """
    wavelength = tables.WAVELENGTH[band]
    radiance = resample(fine, COARSE, instrument.spread, instrument.offset, shape)
    radiance = radiance + noise[0] * thermal.slope(wavelength, noise[1]) * rng.standard_normal(shape, dtype=np.float32)
    floor = thermal.planck(wavelength, tables.COLDEST)
    return thermal.brightness(wavelength, np.maximum(radiance, floor))


def measure_temperature(rng: np.random.Generator, fine: np.ndarray, band: int, instrument: Instrument) -> np.ndarray:
    """Return the measured brightness temperature of one of S7..S9 at 1 km, repeated to 500 m, (y, x) float32."""
    shape, coarse = instrument.copies.shape, instrument.coarse_copies.shape
    noise = (tables.NEDT[band - tables.S7], tables.NEDT_AT)
    steps = np.rint(temperature(rng, fine, band, instrument, coarse, noise) / tables.TEMPERATURE_STEP)
    copied = (steps * tables.TEMPERATURE_STEP).astype(np.float32).ravel()[instrument.coarse_copies]
    return copied.repeat(2, 0).repeat(2, 1)[: shape[0], : shape[1]]


def swath(rng: np.random.Generator, grid: Grid) -> np.ndarray:
    """Return which 500 m pixels lie inside the swath: a slanted, saw-toothed edge where the scene crosses it."""
    rows, columns = ((side - 2 * BORDER) // FINE for side in grid.shape)
    across = grid.across[BORDER + FINE // 2 : BORDER + FINE * columns : FINE]
    row = np.arange(rows)
    period, depth = rng.integers(4, 17), rng.uniform(1.0, 4.0) * FINE * PIXEL
    edge = depth * (row % period) / period + rng.uniform(-0.1, 0.1) * FINE * PIXEL * row
    low, high = tables.SWATH
    return np.asarray((across[None] > low + edge[:, None]) & (across[None] < high - edge[:, None]))
