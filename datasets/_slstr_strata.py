"""Strata of a granule, and the cloud masks that come with the product, from its flags and angles."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from benchmark.api import IGNORE
from datasets._slstr_flags import BAYES_FILL, TEST_BANDS, has

# Names of the masks of others, and the bands that these derive from.
MAPS = {"slstr_basic": list(TEST_BANDS["summary_cloud"]), "slstr_bayes": list(TEST_BANDS["bayes"])}

_YES = {0: "no", 1: "yes"}
_MASK = {0: "clear", 1: "cloud"}
LEGENDS: dict[str, Mapping[int, str]] = {
    "surface": {0: "sea", 1: "land", 2: "coast", 3: "inland_water"},
    "land": {0: "water", 1: "land"},
    "light": {0: "day", 1: "twilight", 2: "night"},
    **dict.fromkeys(("snow", "glint", "cosmetic", "duplicate"), _YES),
    **dict.fromkeys(MAPS, _MASK),
    "view": {0: "0-20", 1: "20-40", 2: "40-55", 3: "above_55"},
    "sun": {0: "0-40", 1: "40-60", 2: "60-75", 3: "above_75"},
}
VIEW_EDGES, SUN_EDGES = (20.0, 40.0, 55.0), (40.0, 60.0, 75.0)


def make(confidence: xr.DataArray, bayes: xr.DataArray, planes: xr.Dataset) -> dict[str, xr.DataArray]:
    """Return strata and maps, (y, x) uint8, lazy, 255 where unknown, with CF flag_values and flag_meanings.

    Inland water is water in `land`, although the product counts it as land too.

    Args:
        confidence: confidence flags of the grid.
        bayes: Bayesian cloud flags on the same grid.
        planes: `view_zenith` and `sun_zenith` on the same grid.
    """
    inland, land = has(confidence, "inland_water"), has(confidence, "land")
    surface = xr.where(has(confidence, "coastline"), 2, xr.where(inland, 3, land))
    found = {
        "surface": surface,
        "land": land & ~inland,
        "light": xr.where(has(confidence, "day"), 0, xr.where(has(confidence, "twilight"), 1, 2)),
        "snow": has(confidence, "snow"),
        "glint": has(confidence, "sun_glint"),
        "cosmetic": has(confidence, "cosmetic"),
        "duplicate": has(confidence, "duplicate"),
        "slstr_basic": has(confidence, "summary_cloud"),
        "slstr_bayes": has(bayes, "single_moderate").where(bayes != BAYES_FILL, IGNORE),
    }
    filled = ~has(confidence, "unfilled")
    found = {name: values.where(filled, IGNORE) for name, values in found.items()}
    found |= {"view": _binned(planes["view_zenith"], VIEW_EDGES), "sun": _binned(planes["sun_zenith"], SUN_EDGES)}
    return {name: _with_legend(values.astype(np.uint8), LEGENDS[name]) for name, values in found.items()}


def _binned(angle: xr.DataArray, edges: tuple[float, ...]) -> xr.DataArray:
    """Return the number of edges at or below each angle; 255 where it is NaN."""
    bins = xr.DataArray(angle.data.map_blocks(np.digitize, edges, dtype=np.int64), dims=angle.dims)
    return bins.where(angle.notnull(), IGNORE)


def _with_legend(values: xr.DataArray, legend: Mapping[int, str]) -> xr.DataArray:
    values.attrs = {"flag_values": np.array(list(legend), np.uint8), "flag_meanings": " ".join(legend.values())}
    return values
