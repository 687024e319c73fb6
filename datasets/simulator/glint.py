"""Sun glint on a wind-roughened sea: isotropic slopes of Cox & Munk (1954), Fresnel reflection, whitecaps."""

from __future__ import annotations

import numpy as np

from datasets.simulator import tables


def slope_variance(wind: np.ndarray | float) -> np.ndarray:
    """Return the mean square slope for a wind in m/s."""
    constant, linear = tables.SLOPE_VARIANCE
    return np.asarray(constant + linear * np.asarray(wind))


def fresnel(index: float, incidence: np.ndarray) -> np.ndarray:
    """Return the unpolarised reflectance of a flat surface; `incidence` in radians."""
    inside = np.arcsin(np.sin(incidence) / index)
    cos_out, cos_in = np.cos(incidence), np.cos(inside)
    vertical = (cos_out - index * cos_in) / (cos_out + index * cos_in)
    parallel = (index * cos_out - cos_in) / (index * cos_out + cos_in)
    return (vertical**2 + parallel**2) / 2


def facet(view: np.ndarray, sun: float, azimuth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return angle of incidence (radians) and cosine of the tilt of the facets that mirror the sun to the sensor.

    Args:
        view: cosine of the view zenith angle.
        sun: cosine of the sun zenith angle.
        azimuth: between the directions to sun and sensor, radians; pi is the specular plane.
    """
    sines = np.sqrt((1 - view**2) * (1 - sun**2))
    incidence = np.arccos(np.clip(view * sun + sines * np.cos(azimuth), -1, 1)) / 2
    return incidence, np.minimum((view + sun) / (2 * np.cos(incidence)), 1.0)


def slopes(view: np.ndarray, sun: float, azimuth: np.ndarray, wind: np.ndarray | float) -> np.ndarray:
    """Return the glint's reflectance pi L / (mu0 E) but for the Fresnel factor; arguments broadcast (see `facet`)."""
    _, tilt = facet(view, sun, azimuth)
    variance = slope_variance(wind)
    probability = np.exp(-(tilt**-2 - 1) / variance) / (np.pi * variance)
    return np.pi * probability / (4 * view * sun * tilt**4)


def foam(wind: np.ndarray | float) -> np.ndarray:
    """Return the fraction of the sea under whitecaps."""
    factor, exponent = tables.FOAM
    return np.minimum(factor * np.asarray(wind) ** exponent, 1.0)
