"""From what satpy reads of a product to a granule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dask
import numpy as np
import xarray as xr
from satpy import Scene

from benchmark.api import IGNORE, REFLECTANCE, Band, UserError
from datasets._satpy_quiet import quiet
from datasets._slstr_files import ROWS
from datasets._slstr_radiometry import SUN_LIMIT
from datasets._slstr_strata import LEGENDS, SUN_EDGES, VIEW_EDGES

_LOGGERS = ("satpy", "native_msg", "hrit_msg", "hrit_base")
_IGNORED = ("No orbit polynomial valid",)


@dataclass(frozen=True)
class Reading:
    """A product as its reader gives it; arrays are (y, x) and lazy.

    Attributes:
        bands: reflectance in percent, not divided by cos(sun zenith), or brightness temperature in K, as satpy 0.60
            gives them for every instrument here; in the order that was asked for.
        valid: whether a pixel holds a measurement.
        lat, lon, sun_zenith, view_zenith: degrees.
        strata: uint8 with flag_values and flag_meanings, by name.
        attrs: granule, start_time, stop_time, orbit, frame and provenance of the granule.
    """

    bands: Sequence[xr.DataArray]
    valid: xr.DataArray
    lat: xr.DataArray
    lon: xr.DataArray
    sun_zenith: xr.DataArray
    view_zenith: xr.DataArray
    strata: Mapping[str, xr.DataArray]
    attrs: Mapping[str, Any]


def load(reader: str, product: Path, files: Sequence[Path], names: Sequence[str], **options: Any) -> Scene:
    """Let satpy read data sets, calibrated to reflectance and brightness temperature.

    Args:
        reader: satpy's name of the reader.
        product: named in errors.
        files: of the product.
        names: of the data sets.
        options: passed to `Scene.load`.

    Raises:
        UserError: satpy knows none of the files, cannot read them, or does not find a data set in them.
    """
    with quiet(_IGNORED, _LOGGERS), dask.config.set({"array.chunk-size": "16MiB"}):
        try:
            scene = Scene(filenames=[str(file) for file in files], reader=reader)
            scene.load(names, calibration=["reflectance", "brightness_temperature"], **options)
        except (OSError, ValueError, LookupError, RuntimeError) as error:
            raise UserError(f"{product.name} cannot be read with satpy's {reader}: {_line(error)}") from None
    missing = next((name for name in names if name not in scene), None)
    if missing:
        raise UserError(f"{product.name} has no readable {missing}")
    return scene


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def granule(bands: Sequence[Band], reading: Reading, **attrs: Any) -> xr.Dataset:
    """Return a product as a granule without mask, see `benchmark.granule`; `attrs` are those of its instrument."""
    cosine = np.cos(np.deg2rad(reading.sun_zenith.where(reading.sun_zenith <= SUN_LIMIT)))
    toa = []
    for band, values in zip(bands, reading.bands, strict=True):
        scaled = values / 100 / cosine if band.quantity == REFLECTANCE else values
        toa.append(_plain(scaled.where(reading.valid), np.float32))
    planes = {name: _plain(getattr(reading, name), np.float32) for name in ("lat", "lon", "sun_zenith", "view_zenith")}
    strata = {
        **reading.strata,
        "view": _steps("view", reading.view_zenith, VIEW_EDGES),
        "sun": _steps("sun", reading.sun_zenith, SUN_EDGES),
    }
    coords = {"band": [band.name for band in bands]}
    table = {name: ("band", [getattr(band, name) for band in bands]) for name in ("role", "wavelength", "quantity")}
    data = {"toa": xr.concat(toa, "band"), **planes} | {
        name: _plain(values, np.uint8) for name, values in strata.items()
    }
    attrs = {"maps": {}, **attrs, **reading.attrs}
    attrs["provenance"] = {
        "reader": f"satpy {version('satpy')}",
        "reflectance_convention": "fraction, divided by cos(sun zenith)",
        "sun_zenith_limit": SUN_LIMIT,
        **attrs["provenance"],
    }
    return xr.Dataset(data, coords | table, attrs)


def _plain(values: xr.DataArray, dtype: type) -> xr.DataArray:
    """Return values of a type in blocks of whole rows, without coordinates, and of attributes only the flags."""
    kept = {name: values.attrs[name] for name in ("flag_values", "flag_meanings") if name in values.attrs}
    data = values.data.astype(dtype).rechunk((ROWS, -1))
    return xr.DataArray(data, dims=("y", "x"), attrs=kept)


def flags(name: str, values: xr.DataArray) -> xr.DataArray:
    """Return a stratum (y, x) as uint8 with the meanings that its numbers have for SLSTR too."""
    legend = LEGENDS[name]
    meanings = {"flag_values": np.array(list(legend), np.uint8), "flag_meanings": " ".join(legend.values())}
    return values.astype(np.uint8).assign_attrs(meanings)


def _steps(name: str, values: xr.DataArray, edges: Sequence[float]) -> xr.DataArray:
    """Return a stratum of the classes that edges (degrees) part, from 0 on; 255 where the value is NaN."""
    number = sum((values >= edge).astype(np.uint8) for edge in edges)
    return flags(name, xr.where(values.notnull(), number, IGNORE))
