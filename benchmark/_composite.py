"""Pictures of patches and products: natural colour, or inverted brightness temperature without reflectance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from benchmark.api import BRIGHTNESS_TEMPERATURE, ELEVATION, Band

# EUMETSAT's natural colour first: water cloud is white, ice cloud and snow are cyan, vegetation is green.
COMPOSITES = (("SWIR_1", "NIR_NARROW", "RED"), ("RED", "GREEN", "BLUE"))
INFRARED = ("BT_11", "BT_12", "BT_37")
WHITE, GAMMA = 0.9, 1.8
TAILS = (0.5, 99.5)  # percentiles of temperature that become white and black
FEW = 16  # patches that a range is taken from


def channels(bands: Sequence[Band]) -> tuple[int, ...]:
    """Return the positions of the bands shown: three for colour, one for grey."""
    roles = [band.role for band in bands]
    colour = next((names for names in COMPOSITES if set(names) <= set(roles)), None)
    if colour:
        return tuple(roles.index(role) for role in colour)
    measured = [place for place, band in enumerate(bands) if band.quantity != ELEVATION]
    return (next((roles.index(role) for role in INFRARED if role in roles), measured[0]),)


def kelvin_range(patches: Sequence[np.ndarray], bands: Sequence[Band]) -> tuple[float, float]:
    """Return the cold and the warm end of the grey scale that suits these patches (b, y, x); (0, 1) without heat.

    One range for all pictures that stand side by side: a clear desert and a deep cloud must not look the same.
    """
    (first, *_) = channels(bands)
    if bands[first].quantity != BRIGHTNESS_TEMPERATURE:
        return 0.0, 1.0
    few: Iterable[int] = np.unique(np.linspace(0, len(patches) - 1, FEW).astype(int))
    cold, warm = np.nanpercentile(np.concatenate([np.ravel(patches[place][first]) for place in few]), TAILS)
    return float(cold), max(float(warm), float(cold) + 1)


def composite(toa: np.ndarray, bands: Sequence[Band], kelvin: tuple[float, float]) -> np.ndarray:
    """Return a patch (b, y, x) as a picture (y, x, 3) uint8, black where invalid; cold is white, as in any infrared."""
    chosen = channels(bands)
    values = np.moveaxis(toa[list(chosen)], 0, -1)
    if bands[chosen[0]].quantity == BRIGHTNESS_TEMPERATURE:
        cold, warm = kelvin
        shown = np.clip((warm - values) / (warm - cold), 0, 1)
    else:
        shown = (np.clip(values, 0, WHITE) / WHITE) ** (1 / GAMMA)
    return np.broadcast_to(np.nan_to_num(shown) * 255, (*toa.shape[1:], 3)).astype(np.uint8)
