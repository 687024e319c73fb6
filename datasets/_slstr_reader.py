"""SLSTR level-1B products as granules.

Radiometry is satpy's; flags and geometry are read with xarray, because satpy gives flags as floating-point numbers, and
angles only for products with cartesian files, and for a whole image at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from benchmark.api import REFLECTANCE, UserError
from benchmark.granule import BAND_COORDS
from datasets import _slstr_elevation as elevation
from datasets import _slstr_flags as flags
from datasets import _slstr_geometry as geometry
from datasets import _slstr_names as names
from datasets import _slstr_radiometry as radiometry
from datasets import _slstr_strata as strata
from datasets._slstr_files import BANDS, HEIGHT, VIEWS, band_file, choose, open_file, require

LICENCE = "Copernicus Sentinel data: free and open, attribution required"

__all__ = ["BANDS", "granule"]


def granule(product: Path, bands: Sequence[str] = (), view: str = "nadir") -> xr.Dataset:
    """Return a product as a granule, see `benchmark.granule`; nothing but tie points is read whole.

    The grid is that of 500 m where any of S1 to S6 is asked for, else that of 1 km. On the 500 m grid, 1 km bands and
    the Bayesian cloud flags, which real products have on 1 km only, are those of the nearest 1 km pixel. The times of
    an oblique granule are those of the product, when nadir measured its rows: the oblique view did about 2.4 minutes
    later.

    Args:
        product: the .SEN3 folder.
        bands: names (S1 to S9, F1, F2, elevation) or roles; none stands for S1 to S9.
        view: "nadir" or "oblique".

    Raises:
        UserError: the folder is no product or is renamed; a file or band is missing, cannot be read, or is empty;
            reflectance is asked for where the sun is too low everywhere.
    """
    name = names.parse(product.name)
    if not product.is_dir():
        raise UserError(f"{product} is not a folder")
    chosen = choose(product, bands, view)
    measured = [band for band in chosen if band != HEIGHT.name]
    fine = any(BANDS[band].quantity == REFLECTANCE for band in measured)
    grid, coarse = ("a" if fine else "i") + VIEWS[view], "i" + VIEWS[view]
    require(product, f"flags_{grid}.nc", f"flags_{coarse}.nc", f"geometry_t{VIEWS[view]}.nc")
    if fine and geometry.highest_sun(product, grid) > radiometry.SUN_LIMIT:
        raise UserError(
            f"{product.name} has no reflectance: the sun is nowhere higher than {90 - radiometry.SUN_LIMIT:g} degrees;"
            " choose thermal bands with --bands"
        )
    planes = geometry.planes(product, grid)
    index = geometry.coarse_index(product, grid, coarse) if fine else None
    layers = _layers(radiometry.load(product, measured, view), planes["sun_zenith"], index)
    located = {"coordinates": planes.attrs["geolocation"], "coarse_pixels": index.source if index else "not used"}
    if HEIGHT.name in chosen:
        layers[HEIGHT.name], located["elevation"] = elevation.read(product, grid, index)
    ds = planes.assign(toa=_toa({band: layers[band] for band in chosen}))
    bayes = flags.read(product, coarse)["bayes"]
    confidence = flags.read(product, grid)["confidence"]
    ds = ds.assign(strata.make(confidence, index.bring(bayes) if index else bayes, planes))
    provenance = {"view": view, "grid": grid, "geolocation": located, **radiometry.provenance(measured, view)}
    ds.attrs = _attributes(product, name, band_file(measured[0], VIEWS[view]), provenance)
    return ds


def _layers(
    measured: Mapping[str, xr.DataArray], sun_zenith: xr.DataArray, index: geometry.CoarseIndex | None
) -> dict[str, xr.DataArray]:
    """Return bands on one grid, reflectance normalised."""
    layers = {}
    for band, values in measured.items():
        if BANDS[band].quantity == REFLECTANCE:
            values = radiometry.normalise(values, sun_zenith)
        elif index:
            values = index.bring(values)
        layers[band] = values
    return layers


def _toa(layers: Mapping[str, xr.DataArray]) -> xr.DataArray:
    """Stack bands of one grid, with the coordinates of a granule's bands."""
    table = {**BANDS, HEIGHT.name: HEIGHT}
    coords: dict[str, Any] = {"band": list(layers)}
    for key in BAND_COORDS:
        coords[key] = ("band", [getattr(table[band], key) for band in layers])
    plain = [values.drop_attrs() for values in layers.values()]
    return xr.concat(plain, "band", coords="minimal", compat="override").assign_coords(coords)


def _attributes(product: Path, name: names.Name, file: str, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a granule; times and orbit are those in a file, for the name has whole seconds."""
    found = open_file(product, file).attrs
    keys = ("start_time", "stop_time", "absolute_orbit_number", "source")
    missing = next((key for key in keys if key not in found), None)
    if missing:
        raise UserError(f"{file} of {product.name} has no attribute {missing}")
    simulated = str(found["source"]).startswith("simulated")
    return {
        "granule": product.name.removesuffix(".SEN3"),
        "start_time": _utc(product, found["start_time"]),
        "stop_time": _utc(product, found["stop_time"]),
        "orbit": f"{name.platform}-{_orbit(product, found['absolute_orbit_number']):06d}",
        "frame": name.frame,
        "sensor": "SLSTR (simulated)" if simulated else "SLSTR",
        "licence": "Apache-2.0" if simulated else LICENCE,
        "maps": {key: list(value) for key, value in strata.MAPS.items()},
        "provenance": {"baseline": str(found["source"]), **provenance},
    }


def _orbit(product: Path, number: Any) -> int:
    try:
        return int(number)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"'{number}' in {product.name} is not the number of an orbit") from None


def _utc(product: Path, text: str) -> str:
    """Return a time without the Z at its end, as numpy reads it."""
    try:
        time = np.datetime64(str(text).removesuffix("Z"), "us")
        if np.isnat(time):
            raise ValueError
    except ValueError:
        raise UserError(f"'{text}' in {product.name} is not a time") from None
    return str(time)
