"""Flags of SLSTR products, decoded by the meanings that the file itself gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from benchmark.api import UserError
from datasets._slstr_files import band_file, open_file, variable

FLAGS = ("cloud", "confidence", "bayes")
PROBABILITIES = ("probability_cloud_single", "probability_cloud_dual")
BAYES_FILL = 255

_THERMAL = ("S7", "S8", "S9", "F1", "F2")
_ALL = ("S1", "S2", "S3", "S4", "S5", "S6", *_THERMAL)
# Which bands a cloud mask derives from. From memory of the SLSTR level-1 algorithm basis document, not read again here.
# F1 and F2 stand beside S7 and S8, because they measure the same channels. Where bands are not known for certain, all
# that may be used are named: a mask is rather called circular than independent.
TEST_BANDS: dict[str, tuple[str, ...]] = {
    "visible": ("S1", "S2", "S3", "S5"),
    "1.37_threshold": ("S4",),
    "1.6_small_histogram": ("S5",),
    "1.6_large_histogram": ("S5",),
    "2.25_small_histogram": ("S6",),
    "2.25_large_histogram": ("S6",),
    "11_spatial_coherence": ("S8", "S9", "F2"),
    "gross_cloud": ("S9",),
    "thin_cirrus": ("S8", "S9", "F2"),
    "medium_high": ("S7", "S9", "F1"),
    "fog_low_stratus": ("S7", "S8", "F1", "F2"),
    "11_12_view_difference": ("S8", "S9", "F2"),
    "3.7_11_view_difference": ("S7", "S8", "F1", "F2"),
    "thermal_histogram": ("S8", "S9", "F2"),
    "summary_cloud": _ALL,
    "bayes": _ALL,
    "probability_cloud": _ALL,
}


def read(product: Path, grid: str) -> xr.Dataset:
    """Return the flags of a grid ('an', 'in', 'ao', 'io'), (y, x), lazy, named without the grid.

    `cloud`, `confidence`, `bayes` and, where the product has it, `pointing` are integers with their flag_masks and
    flag_meanings. `probability_cloud_single` and `probability_cloud_dual`, on 1 km grids of products that have them,
    are float32 in 0 to 1, NaN where unknown. In a real granule (near real time, IPF 06.18, over land) `bayes_an` is 0
    everywhere; `bayes_in` is 0 or 2 (single_moderate) and nowhere BAYES_FILL, so that it does not tell clear from not
    made; and the single-view probability is there for 5 % of the pixels, all of them inland water, the dual-view one
    for none.

    Raises:
        UserError: the file, or `cloud`, `confidence` or `bayes`, is missing or cannot be read.
    """
    file = f"flags_{grid}.nc"
    raw, decoded = open_file(product, file, decoded=False), open_file(product, file)
    found = {name: variable(raw, f"{name}_{grid}", product) for name in FLAGS}
    if f"pointing_{grid}" in raw:
        found["pointing"] = raw[f"pointing_{grid}"]
    for name in PROBABILITIES:
        if f"{name}_{grid}" in decoded:
            found[name] = decoded[f"{name}_{grid}"].astype(np.float32)
    return xr.Dataset(found)


def exception(product: Path, band: str, grid: str) -> xr.DataArray:
    """Return the exception flags of a band on its grid, (y, x) uint8, lazy."""
    ds = open_file(product, band_file(band, grid[1]), decoded=False)
    return variable(ds, f"{band}_exception_{grid}", product)


def has(flags: xr.DataArray, *names: str) -> xr.DataArray:
    """Return where any of the named flags is set, bool.

    Raises:
        UserError: the variable has no flag of this name, or not a mask for each.
    """
    meanings = str(flags.attrs.get("flag_meanings", "")).split()
    masks = np.atleast_1d(flags.attrs.get("flag_masks", ()))
    if len(masks) != len(meanings):
        raise UserError(f"flags {flags.name} have {len(meanings)} flag_meanings and {len(masks)} flag_masks")
    known = [name for name in dict.fromkeys(meanings) if name != "spare"]
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        raise UserError(f"{flags.name} has no flag '{unknown}'; its flags are {', '.join(known) or 'not named'}")
    wanted = np.bitwise_or.reduce([masks[meanings.index(name)] for name in names])
    return (flags & flags.dtype.type(wanted)) != 0
