"""Planck's law at the bands' centres, in W m-2 sr-1 um-1, um and K."""

from __future__ import annotations

import numpy as np

from datasets.simulator import tables


def planck(wavelength: float, temperature: np.ndarray | float) -> np.ndarray:
    """Return the radiance of a black body."""
    return tables.PLANCK_1 / wavelength**5 / np.expm1(tables.PLANCK_2 / wavelength / np.asarray(temperature))


def brightness(wavelength: float, radiance: np.ndarray | float) -> np.ndarray:
    """Return the brightness temperature of a radiance."""
    return tables.PLANCK_2 / wavelength / np.log1p(tables.PLANCK_1 / wavelength**5 / np.asarray(radiance))


def slope(wavelength: float, temperature: float) -> float:
    """Return dB/dT, for noise given in kelvin."""
    return float((planck(wavelength, temperature + 0.05) - planck(wavelength, temperature - 0.05)) / 0.1)


def through_layer(
    background: np.ndarray, absorption: np.ndarray, view: np.ndarray | float, source: np.ndarray | float
) -> np.ndarray:
    """Return the radiance above a layer that absorbs `absorption` vertically and emits `source` as a black body."""
    passed = np.exp(-absorption / view)
    return background * passed + source * (1 - passed)
