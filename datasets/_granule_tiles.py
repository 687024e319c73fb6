"""Cutting a granule into square tiles, one stripe of rows at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from benchmark.api import IGNORE, Band, UserError

_LATER = ("label_bands", "label_source", "licence", "maps", "sensor")


@dataclass(frozen=True)
class Kind:
    """What all granules of one patch set have in common: bands, legends of the strata by name, attributes."""

    bands: tuple[Band, ...]
    legends: Mapping[str, Mapping[int, str]]
    attrs: Mapping[str, Any]


@dataclass(frozen=True)
class Tiles:
    """The kept tiles of one stripe, n of them.

    Attributes:
        columns: leftmost column of each.
        toa: (n, b, y, x) float32.
        mask: (n, y, x) uint8.
        strata: by name, (n, y, x) uint8.
        centre: by name of a plane, (n,) float32 degrees at pixel (size // 2, size // 2).
        footprint: (n,) text, a WKT polygon each.
    """

    columns: np.ndarray
    toa: np.ndarray
    mask: np.ndarray
    strata: Mapping[str, np.ndarray]
    centre: Mapping[str, np.ndarray]
    footprint: np.ndarray


def kind(ds: xr.Dataset) -> Kind:
    """Return bands, legends and attributes of a granule that has a mask."""
    columns = (ds[name].values.tolist() for name in ("band", "role", "wavelength", "quantity"))
    bands = tuple(Band(*values) for values in zip(*columns, strict=True))
    legends = {name: _legend(ds[name].attrs) for name in _strata(ds)}
    told = (*_LATER, *(name for name in ("label_maps",) if ds.attrs.get(name)))
    return Kind(bands, legends, {name: ds.attrs[name] for name in told})


def _strata(ds: xr.Dataset) -> list[str]:
    return sorted(str(name) for name, values in ds.data_vars.items() if values.dtype == np.uint8 and name != "mask")


def _legend(attrs: Mapping[str, Any]) -> dict[int, str]:
    values = np.atleast_1d(attrs["flag_values"]).tolist()
    return dict(zip(values, attrs["flag_meanings"].split(), strict=True))


def difference(one: Kind, other: Kind) -> str | None:
    """Return what of the second kind is not as in the first, in words, or None."""
    if one.bands != other.bands:
        return f"bands {', '.join(band.name for band in other.bands)}"
    if one.legends != other.legends:
        return f"strata {', '.join(other.legends)}"
    changed = next((name for name in _LATER if one.attrs[name] != other.attrs[name]), None)
    return changed and f"{changed} {other.attrs[changed]!r}"


def cut(ds: xr.Dataset, row: int, size: int, min_valid: float) -> Tiles | None:
    """Read rows `row` to `row + size` and return the tiles of which at least a share `min_valid` is valid.

    A pixel is valid where every band is finite and the mask is not 255.

    Returns:
        None where no tile of the stripe is kept.

    Raises:
        UserError: the rows cannot be read.
    """
    try:
        stripe = ds.isel(y=slice(row, row + size)).compute()
    except (OSError, RuntimeError) as error:  # netCDF4 raises either for a damaged chunk
        raise UserError(f"{ds.attrs['granule']} cannot be read: {error}") from None
    valid = np.isfinite(stripe.toa.values).all(axis=0) & (stripe.mask.values != IGNORE)
    starts = np.arange(0, valid.shape[1] - size + 1, size)
    shares = _tiles(valid, starts, size).mean(axis=(1, 2))
    columns = starts[(shares >= min_valid) & (shares > 0)]
    if not len(columns):
        return None
    planes = {name: _tiles(stripe[name].values, columns, size) for name in ("lat", "lon", "sun_zenith", "view_zenith")}
    return Tiles(
        columns,
        _tiles(stripe.toa.values, columns, size),
        _tiles(stripe.mask.values, columns, size),
        {name: _tiles(stripe[name].values, columns, size) for name in _strata(ds)},
        {name: values[:, size // 2, size // 2] for name, values in planes.items()},
        np.array([footprint(*place) for place in zip(planes["lat"], planes["lon"], strict=True)]),
    )


def _tiles(values: np.ndarray, columns: Sequence[int] | np.ndarray, size: int) -> np.ndarray:
    """Return the tiles (n, ..., y, x) of a stripe (..., y, x) that begin at these columns."""
    return np.stack([values[..., column : column + size] for column in columns])


def footprint(lat: np.ndarray, lon: np.ndarray) -> str:
    """Return the WKT polygon (longitude latitude) through the centres of a tile's corner pixels.

    A corner without a position gives way to the nearest pixel that has one. Longitudes run on over the date line, so
    they may pass 180. Empty where no pixel has a position. A tile that holds a pole is not told apart: its polygon,
    which then leaves out the pole, is wrong.

    Args:
        lat: (y, x) degrees north.
        lon: (y, x) degrees east.
    """
    rows, columns = np.nonzero(np.isfinite(lat) & np.isfinite(lon))
    if not len(rows):
        return ""
    last, right = lat.shape[0] - 1, lat.shape[1] - 1
    corners = ((0, 0), (0, right), (last, right), (last, 0))
    nearest = [int(np.argmin((rows - y) ** 2 + (columns - x) ** 2)) for y, x in corners]
    points = [(float(lon[rows[k], columns[k]]), float(lat[rows[k], columns[k]])) for k in (*nearest, nearest[0])]
    west = points[0][0]
    return "POLYGON ((" + ", ".join(f"{west + (x - west + 180) % 360 - 180:.5f} {y:.5f}" for x, y in points) + "))"
