"""Granules on a map grid, by the nearest pixel."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError
from pyresample import kd_tree
from pyresample.geometry import AreaDefinition, SwathDefinition

from benchmark.api import IGNORE, UserError

MOST_CELLS = 100_000_000
_SPEC = re.compile(r"(EPSG:\d+)@(\d+\.?\d*|\.\d+)")
_EARTH = 6_371_000.0  # mean radius in m, for distances between neighbours, where half a percent does not matter
_ROWS = 256  # rows of a block of the result


@dataclass(frozen=True)
class Nearest:
    """An array (..., Y, X) that takes its cells from `values` (..., y, x) when it is sliced.

    Attributes:
        values: what is taken, float or uint8.
        index: (Y, X) position in the flattened (y, x) of each cell, -1 where there is none: NaN or 255 then.
    """

    values: np.ndarray
    index: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole array."""
        return (*self.values.shape[:-2], *self.index.shape)

    @property
    def dtype(self) -> np.dtype:
        """Type of the values."""
        return self.values.dtype

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self.values.ndim

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        cells = self.index[key[-2:]]
        flat = self.values[key[:-2]].reshape(*self.values.shape[:-2], -1) if key[:-2] else self.values.reshape(-1)
        fill = np.array(IGNORE if self.dtype == np.uint8 else np.nan, self.dtype)
        return np.where(cells < 0, fill, flat[..., cells])


def resample(ds: xr.Dataset, spec: str) -> xr.Dataset:
    """Return a granule on a map grid, y to the south and x to the east.

    Every cell takes the pixel nearest to its centre, in every variable, so bands, mask and strata stay together and no
    value is a mixture. A cell that lies beyond the spacing of the pixels around is NaN or 255. The granule is read
    whole, once; the result is made of it in blocks of rows.

    Args:
        ds: a granule.
        spec: `EPSG:<code>@<cell size>`, in the unit of the reference system (metres, or degrees).

    Raises:
        UserError: not such a text, an unknown system, or a granule that does not fit it.
    """
    lat, lon = (ds[name].values for name in ("lat", "lon"))
    area = _area(lat, lon, spec, ds.attrs["granule"])
    index = _index(lat, lon, area)
    taken = {name: _lazy(values, index) for name, values in ds.drop_vars(["lat", "lon"]).compute().data_vars.items()}
    places = zip(("lon", "lat"), area.get_lonlats(chunks=(_ROWS, area.width)), strict=True)
    planes = {name: (("y", "x"), degrees.astype(np.float32)) for name, degrees in places}
    bands = {name: values for name, values in ds.coords.items() if values.dims == ("band",)}
    attrs = ds.attrs | {"provenance": {**ds.attrs["provenance"], "map_grid": spec}}
    return xr.Dataset(taken | planes, bands, attrs)


def _lazy(values: xr.DataArray, index: np.ndarray) -> tuple[Any, ...]:
    nearest = Nearest(values.values, index)
    # Without a name Dask would hash the whole array.
    array = da.from_array(nearest, chunks=(*nearest.shape[:-2], _ROWS, nearest.shape[-1]), name=False, asarray=False)
    return values.dims, array, values.attrs


def _area(lat: np.ndarray, lon: np.ndarray, spec: str, granule: str) -> AreaDefinition:
    """Return the cells that cover the pixels, with edges at multiples of the cell size."""
    match = _SPEC.fullmatch(spec)
    if not match or not float(match[2]):
        raise UserError(f"grid is 'native' or 'EPSG:<code>@<cell size>', as in EPSG:32636@500, not '{spec}'")
    try:
        crs = CRS(match[1])
        x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)
    except CRSError:
        raise UserError(f"grid '{spec}': {match[1]} is not a known reference system") from None
    cell, inside = float(match[2]), np.isfinite(x) & np.isfinite(y)
    if not inside.any():
        raise UserError(f"{granule} lies wholly outside the area where {match[1]} is defined")
    west, south = (np.floor(values[inside].min() / cell) for values in (x, y))
    east, north = (np.floor(values[inside].max() / cell) + 1 for values in (x, y))
    width, height = int(east - west), int(north - south)
    if width * height > MOST_CELLS:
        raise UserError(
            f"{granule} would have {width}x{height} cells on grid '{spec}', more than {MOST_CELLS}: it may cross the"
            " edge of the map"
        )
    extent = tuple(edge * cell for edge in (west, south, east, north))
    return AreaDefinition("cells", spec, "cells", crs, width, height, extent)


def _index(lat: np.ndarray, lon: np.ndarray, area: AreaDefinition) -> np.ndarray:
    """Return the flat position of the pixel nearest to each cell, -1 where none is near."""
    reach = _reach(lat, lon)
    known, _, place, distance = kd_tree.get_neighbour_info(
        SwathDefinition(lon, lat), area, float(np.nanmax(reach)), neighbours=1, reduce_data=False
    )
    pixels = np.flatnonzero(known).astype(np.int32)
    found = place < len(pixels)
    index = np.where(found, pixels[np.where(found, place, 0)], -1)
    near = distance <= reach.ravel()[index]
    return np.where(found & near, index, -1).reshape(area.shape)


def _reach(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Return how far from each pixel, in m, a cell may take it: half a diagonal of the pixels there, and 5 % more."""
    polar, azimuth = np.radians(np.float64(lat)), np.radians(np.float64(lon))
    place = np.stack([np.cos(polar) * np.cos(azimuth), np.cos(polar) * np.sin(azimuth), np.sin(polar)])
    sides = []
    for axis in (0, 1):
        step = np.linalg.norm(np.diff(place, axis=axis + 1), axis=0)
        padding = [(0, 0), (0, 0)]
        padding[axis] = (1, 1)
        padded = np.pad(step, padding, constant_values=np.nan)
        before, after = (padded.take(range(first, first + lat.shape[axis]), axis) for first in (0, 1))
        sides.append(np.fmax(before, after))
    return 1.05 * _EARTH / 2 * np.hypot(*sides)
