"""Elevation of the pixels of an SLSTR product, wherever it holds one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from benchmark.api import UserError
from datasets._slstr_files import open_file
from datasets._slstr_geometry import CoarseIndex, interpolated

TIES = "geodetic_tx.nc"


def read(product: Path, grid: str, index: CoarseIndex | None) -> tuple[xr.DataArray, str]:
    """Return the elevation of a grid's pixels in metres, (y, x) float32, lazy, NaN where unknown; and where it is from.

    It is that of the grid's own geodetic file; where there is none, that of the 1 km pixel of a 500 m pixel, or else
    what is interpolated between tie points.

    Args:
        product: its folder.
        grid: an, ao, in or io.
        index: 1 km pixels of a 500 m grid; None on a 1 km grid.

    Raises:
        UserError: the product holds no elevation, or a file cannot be read.
    """
    own, coarse = f"geodetic_{grid}.nc", f"geodetic_i{grid[1]}.nc"
    if (found := _variable(product, own, f"elevation_{grid}")) is not None:
        return found, own
    if index and (found := _variable(product, coarse, f"elevation_i{grid[1]}")) is not None:
        return index.bring(found), coarse
    if (found := _variable(product, TIES, "elevation_tx")) is not None:
        (heights,) = interpolated(product, grid, TIES, found.values[..., None], _planes)
        return heights, f"interpolated between the tie points of {TIES}"
    tried = ", ".join(dict.fromkeys((own, coarse, TIES)))
    raise UserError(f"{product.name} holds no elevation in any of {tried}; leave it out of --bands")


def _variable(product: Path, file: str, name: str) -> xr.DataArray | None:
    """Return a variable of a file, or None where the product has no such file or variable."""
    if not (product / file).exists() or name not in (ds := open_file(product, file)):
        return None
    return ds[name].drop_vars(list(ds[name].coords)).astype(np.float32)


def _planes(values: np.ndarray) -> np.ndarray:
    return np.moveaxis(values, -1, 0)
