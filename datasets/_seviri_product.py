"""SEVIRI level-1.5 images in native or HRIT form: what satpy's `seviri_l1b_native` and `seviri_l1b_hrit` say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from pyorbital.astronomy import cos_zen
from pyorbital.orbital import get_observer_look
from satpy.readers.core import hrit

from benchmark.api import Band, UserError
from datasets._satpy_reading import Reading, load

SEGMENT = re.compile(
    r"[HL]-000-MSG._*-(?P<service>MSG\d_\w{7})-(?P<channel>\w{9})-(?P<part>\w{9})-(?P<time>\d{12})"
    r"-(?P<compressed>__|C_)(?P<zipped>\.bz2)?"
)


def read(product: Path, bands: Sequence[Band]) -> Reading:
    """Read an image, north up and west left; HRIT segments that are missing hold no measurement.

    The sun's place is that of the time at which each line was scanned: a quarter of an hour of the whole disk moves it
    by more than three degrees. The constants of calibration are those in the file. Native files of a single channel are
    beyond satpy 0.60 with NumPy 2.

    Raises:
        UserError: a file is missing, was renamed, is compressed, or cannot be read.
    """
    names = [band.name for band in bands]
    if product.is_file():
        reader, files, granule = "seviri_l1b_native", [product], product.stem
    else:
        segments = _segments(product, bands)
        one = next(iter(segments.values()))
        # The folder may have any name, and many may have the same.
        reader, files, granule = "seviri_l1b_hrit", list(segments), f"{one['service'].strip('_')}-{one['time']}"
    scene = load(reader, product, files, names, upper_right_corner="NE")
    # Where noise leaves no radiance above zero there is no temperature, and satpy's formula gives one below 0 K.
    images = [scene[name].where(scene[name] >= 0) for name in names]
    first = scene[names[0]]
    lon, lat = (_seen(values) for values in first.attrs["area"].get_lonlats(chunks=first.chunks))
    return Reading(
        images,
        xr.DataArray(da.isfinite(lat), dims=("y", "x")),
        xr.DataArray(lat, dims=("y", "x")),
        xr.DataArray(lon, dims=("y", "x")),
        _sun_zenith(product, first, lat, lon),
        _view_zenith(first, lat, lon),
        {},
        _attrs(granule, first.attrs, reader),
    )


def _segments(product: Path, bands: Sequence[Band]) -> dict[Path, re.Match[str]]:
    """Return the HRIT files of bands, with prologue and epilogue."""
    found = {path: match for path in sorted(product.iterdir()) if (match := SEGMENT.fullmatch(path.name))}
    times = {match["time"] for match in found.values()}
    if len(times) > 1:
        raise UserError(f"{product.name} holds HRIT files of {len(times)} times; each time needs a folder of its own")
    parts = {match[name].strip("_") for match in found.values() for name in ("channel", "part")}
    for part, what in {"PRO": "prologue", "EPI": "epilogue", **{band.name: band.name for band in bands}}.items():
        if part not in parts:
            raise UserError(f"{product.name} has no HRIT file of {what}")
    wanted = {"", *(band.name for band in bands)}
    files = {path: match for path, match in found.items() if match["channel"].strip("_") in wanted}
    for path, match in files.items():
        _check_readable(product, path, match)
    return files


def _check_readable(product: Path, path: Path, match: re.Match[str]) -> None:
    """Raise UserError at what satpy would notice only when pixels are computed."""
    if match["compressed"] == "C_" and find_spec("pyPublicDecompWT") is None:
        raise UserError(
            f"{product.name} holds compressed HRIT segments (-C_); decompress them, or install pyPublicDecompWT"
        )
    if match["zipped"]:
        return
    header = np.fromfile(path, hrit.primary_header, 1, offset=hrit.common_hdr.itemsize)
    # The length of the data is in bits.
    sizes = [int(entry["total_header_length"]) + -(-int(entry["data_field_length"]) // 8) for entry in header]
    if not sizes or path.stat().st_size < sizes[0]:
        raise UserError(f"{path.name} of {product.name} is incomplete")


def _seen(degrees: da.Array) -> da.Array:
    """Return longitudes or latitudes, NaN where a pixel looks past the earth into space."""
    return da.where(da.isfinite(degrees), degrees, np.nan)


def _sun_zenith(product: Path, image: xr.DataArray, lat: da.Array, lon: da.Array) -> xr.DataArray:
    """Return the sun's zenith angle (y, x), degrees, at the time of each line."""
    known = np.flatnonzero(~np.isnat(image["acq_time"].values))
    if not len(known):
        raise UserError(f"{product.name} says of no line when it was scanned")
    seconds = image["acq_time"].values.astype("datetime64[ms]").astype(np.int64)
    # Lines in space and missing ones bear no time.
    whole = np.interp(np.arange(len(seconds)), known, seconds[known]).astype(np.int64).astype("datetime64[ms]")
    lines = da.from_array(whole[:, None], chunks=(lat.chunks[0], 1))
    data = da.map_blocks(_below_sun, lines, lon, lat, dtype=np.float32, chunks=lat.chunks)
    return xr.DataArray(data, dims=("y", "x"))


def _below_sun(time: np.ndarray, lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    return np.rad2deg(np.arccos(np.clip(cos_zen(time, lon, lat), -1, 1))).astype(np.float32)


def _view_zenith(image: xr.DataArray, lat: da.Array, lon: da.Array) -> xr.DataArray:
    """Return the satellite's zenith angle (y, x), degrees."""
    place = image.attrs["orbital_parameters"]
    kind = _position(image.attrs)
    # Plain numbers: pyorbital stumbles over single ones of NumPy.
    east, north = (float(place[f"satellite_{kind}_{axis}"]) for axis in ("longitude", "latitude"))
    height = float(place.get(f"satellite_{kind}_altitude", place["projection_altitude"])) / 1000
    below = partial(_below_satellite, where=(east, north, height), time=image.attrs["start_time"])
    return xr.DataArray(da.map_blocks(below, lon, lat, dtype=np.float32), dims=("y", "x"))


def _below_satellite(lon: np.ndarray, lat: np.ndarray, where: tuple[float, float, float], time: datetime) -> np.ndarray:
    return (90 - get_observer_look(*where, time, lon, lat, 0)[1]).astype(np.float32)


def _position(attrs: dict[str, Any]) -> str:
    """Return whether the file says where the satellite was (actual), or only where it was meant to be (nominal)."""
    return "actual" if "satellite_actual_longitude" in attrs["orbital_parameters"] else "nominal"


def _attrs(granule: str, attrs: dict[str, Any], reader: str) -> dict[str, Any]:
    start, stop = (attrs["time_parameters"][f"observation_{end}_time"] for end in ("start", "end"))
    return {
        "granule": granule,
        "start_time": start.isoformat(),
        "stop_time": stop.isoformat(),
        # Clouds of one image are still there in the next, so a day of one satellite is what an orbit is to others.
        "orbit": f"{attrs['platform_name']}-{start:%Y-%m-%d}",
        "frame": "",
        "provenance": {
            "baseline": reader,
            "calibration": "nominal coefficients of the file; reflectance with the earth's distance from the sun",
            "geolocation": f"geostationary projection of the file, {_position(attrs)} place of the satellite",
            "view": f"from {float(attrs['orbital_parameters']['projection_longitude']):g} degrees east",
            "grid": "3 km, north up",
        },
    }
