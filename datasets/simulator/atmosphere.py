"""Gases and molecules: what lies between the surface, the layers and the sensor. Heights in km, water in cm."""

from __future__ import annotations

import numpy as np

from datasets.simulator import tables


def vapour_above(water: float, height: float) -> float:
    """Return the column of water vapour above a height, for a column of `water` above the sea."""
    return float(water * np.exp(-height / tables.VAPOUR_HEIGHT))


def air_share(height: float) -> float:
    """Return the share of the air's mass above a height: pressure over surface pressure."""
    return float(np.exp(-height / tables.PRESSURE_HEIGHT))


def rayleigh_depth(band: int) -> float:
    """Return the vertical Rayleigh optical depth of the whole atmosphere."""
    return float(tables.RAYLEIGH_COEFFICIENT * tables.WAVELENGTH[band] ** tables.RAYLEIGH_EXPONENT)


def rayleigh(band: int, view: np.ndarray, sun: float, scattering: np.ndarray) -> np.ndarray:
    """Return the single-scattering Rayleigh reflectance of the whole atmosphere.

    Args:
        band: index in S1..S7.
        view: cosine of the view zenith angle.
        sun: cosine of the sun zenith angle.
        scattering: cosine of the scattering angle.
    """
    return rayleigh_depth(band) * 0.75 * (1 + scattering**2) / (4 * view * sun)


def two_way(band: int, height: float, water: float, airmass: np.ndarray) -> np.ndarray:
    """Return the transmittance sun - level at `height` - sensor through gases and backscattering molecules.

    `airmass` is 1/mu + 1/mu0. Half of what molecules scatter goes on forwards. S4 follows the square root of the
    water vapour, as a band of saturated lines does.
    """
    above, share = vapour_above(water, height), air_share(height)
    depth = tables.OZONE_DEPTH[band] + share * (tables.MIXED_GAS_DEPTH[band] + rayleigh_depth(band) / 2)
    depth += tables.VAPOUR_DEPTH[band] * above
    if tables.BANDS[band][0] == "S4":
        depth += tables.CIRRUS_VAPOUR * np.sqrt(above)
    return np.exp(-depth * airmass)


def infrared_depth(thermal: int, water: float, height: float) -> float:
    """Return the vertical absorption depth above a height; `thermal` counts S7 S8 S9."""
    above = vapour_above(water, height)
    linear, quadratic = tables.INFRARED_VAPOUR[thermal]
    return float(linear * above + quadratic * above**2)


def temperature(air: float, height: float) -> float:
    """Return the air's temperature at a height, for `air` kelvin at the surface."""
    return max(air - tables.LAPSE * height, tables.TROPOPAUSE)


def slab_height(low: float, high: float) -> float:
    """Return the mean height of the water vapour between two heights."""
    scale, depth = tables.VAPOUR_HEIGHT, high - low
    if depth < 1e-6:
        return low
    return float(low + scale - depth / np.expm1(depth / scale))


def surface_air(latitude: float, day: float) -> float:
    """Return a climatological air temperature at the surface in K, for a day of the year."""
    season = np.sign(latitude) * np.cos(2 * np.pi * (day - 200) / 365.25)
    sine = np.sin(np.radians(abs(latitude)))
    return float(tables.AIR_AT_EQUATOR - tables.AIR_FALL * sine**2 + tables.AIR_SEASON * sine * season)
