"""Spectral indices of pixels that thresholds and the naive Bayes mask look at, from whichever roles are there."""

from __future__ import annotations

import numpy as np

from baselines._pixels import Pixels


def visible(pixels: Pixels) -> np.ndarray | None:
    """Return the red reflectance, or green or blue where red is not there."""
    return next((pixels.column(role) for role in ("RED", "GREEN", "BLUE") if role in pixels.names), None)


def snow_index(pixels: Pixels) -> np.ndarray | None:
    """Return the normalised difference snow index of green and 1.6 um (Dozier 1989)."""
    return _normalised_difference(pixels.column("GREEN"), pixels.column("SWIR_1"))


def vegetation_index(pixels: Pixels) -> np.ndarray | None:
    """Return the normalised difference vegetation index."""
    return _normalised_difference(pixels.column("NIR_NARROW"), pixels.column("RED"))


def haze(pixels: Pixels) -> np.ndarray | None:
    """Return the haze-optimised transform with the slope of Zhu and Woodcock (2012): blue - 0.5 red."""
    return _weighted(pixels.column("BLUE"), pixels.column("RED"), 0.5)


def soil_line(pixels: Pixels) -> np.ndarray | None:
    """Return NIR - 0.75 SWIR_1, negative over bright soil (NIR / SWIR_1 < 0.75 in Zhu and Woodcock 2012)."""
    return _weighted(pixels.column("NIR_NARROW"), pixels.column("SWIR_1"), 0.75)


def whiteness(pixels: Pixels) -> np.ndarray | None:
    """Return the visible bands' mean deviation from their mean, over this mean (Gomez-Chova et al. 2007)."""
    present = [pixels.column(role) for role in ("BLUE", "GREEN", "RED") if role in pixels.names]
    if len(present) < 2:
        return None
    bands = np.stack([band for band in present if band is not None])
    mean = bands.mean(axis=0)
    return _divide(np.abs(bands - mean).mean(axis=0), mean)


def split_window(pixels: Pixels) -> np.ndarray | None:
    """Return BT_11 - BT_12 in K, large in thin cirrus."""
    return _weighted(pixels.column("BT_11"), pixels.column("BT_12"), 1.0)


def reflected_37(pixels: Pixels) -> np.ndarray | None:
    """Return BT_37 - BT_11 in K, by day large where droplets reflect the sun at 3.7 um."""
    return _weighted(pixels.column("BT_37"), pixels.column("BT_11"), 1.0)


def _weighted(first: np.ndarray | None, second: np.ndarray | None, weight: float) -> np.ndarray | None:
    return None if first is None or second is None else first - np.float32(weight) * second


def _normalised_difference(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
    return None if first is None or second is None else _divide(first - second, first + second)


def _divide(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """Return top / bottom, NaN where noise has made the sum of reflectances zero or negative."""
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)
