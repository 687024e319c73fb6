"""Granules: whole products on their own grid, read in blocks of rows when asked for.

A granule is an `xarray.Dataset` of Dask arrays on (y, x), y along and x across the track:

- `toa` (band, y, x) float32: reflectance as a fraction normalised by cos(sun zenith), brightness temperature in K, or
  elevation in m; NaN where a band has no valid value. Coordinates of a band: `band` (name), `role`, `wavelength` (um; 0
  for elevation) and `quantity`.
- `lat`, `lon`, `sun_zenith`, `view_zenith` (y, x) float32, degrees; view zenith is 0 at nadir and never negative.
- optional `mask` (y, x) uint8: 0 clear, 1 cloud, 255 ignore.
- any other variable (y, x) uint8 is a map (listed in attribute `maps`) or a stratum, with CF flag_values and
  flag_meanings; 255 where unknown. `land` (0 water, 1 land) is both.
- attributes: `granule` (name of the product), `start_time` and `stop_time` (ISO 8601, UTC), `orbit` (text that is the
  same for all products of one orbit and for no other), `frame` (text, "" where there is none), `sensor`, `licence`,
  `maps` (dict: name of a map of somebody's cloud mask -> names of the bands that it derives from), `provenance` (plain
  JSON: processing baseline, calibration, geolocation, view, grid), and with `mask` also `label_source` and
  `label_bands`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

PLANES = ("lat", "lon", "sun_zenith", "view_zenith")
BAND_COORDS = ("role", "wavelength", "quantity")
ATTRIBUTES = ("granule", "start_time", "stop_time", "orbit", "frame", "sensor", "licence", "maps", "provenance")
LABEL_ATTRIBUTES = ("label_source", "label_bands")


def faults(ds: xr.Dataset) -> list[str]:
    """Return what in a dataset is not as this contract says, without reading its pixels; a source's tests ask this."""
    found = [f"attribute '{name}' is missing" for name in ATTRIBUTES if name not in ds.attrs]
    expected = {"toa": (("band", "y", "x"), np.float32), **dict.fromkeys(PLANES, (("y", "x"), np.float32))}
    found += [f"variable '{name}' is missing" for name in expected if name not in ds]
    found += [f"coordinate '{name}' of band is missing" for name in ("band", *BAND_COORDS) if name not in ds.coords]
    for name, variable in ds.data_vars.items():
        dims, dtype = expected.get(str(name), (("y", "x"), np.uint8))
        if variable.dims != dims or variable.dtype != dtype:
            found.append(f"'{name}' is {variable.dtype} {variable.dims}, not {np.dtype(dtype)} {dims}")
        if variable.chunks is None:
            found.append(f"'{name}' is not lazy")
        if dtype is np.uint8 and name != "mask" and "flag_values" not in variable.attrs:
            found.append(f"'{name}' has no flag_values")
    if "mask" in ds:
        found += [f"attribute '{name}' is missing" for name in LABEL_ATTRIBUTES if name not in ds.attrs]
    found += [f"map '{name}' is missing" for name in ds.attrs.get("maps", ()) if name not in ds]
    return found
