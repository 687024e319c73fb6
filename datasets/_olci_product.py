"""OLCI level-1B products in full or reduced resolution: what satpy's `olci_l1b` and the product's own files say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from satpy.readers import olci_nc

from benchmark.api import Band, UserError
from datasets._satpy_reading import Reading, flags, load
from datasets._slstr_files import ROWS, open_file, require, variable
from datasets._slstr_flags import has

# Sentinel-3 PDGS File Naming Convention; the frame is blank in products that are not cut into frames.
_NAME = re.compile(r"(S3[A-D])_OL_1_E[FR]R____(?:\d{8}T\d{6}_){3}\d{4}_\d{3}_\d{3}_(\d{4}|_{4})_.{3}_._.{2}_.{3}\.SEN3")
STRATA = {"glint": "sun-glint_risk", "cosmetic": "cosmetic", "duplicate": "duplicated"}
GEOMETRY, QUALITY, INSTRUMENT, TIES = "geo_coordinates.nc", "qualityFlags.nc", "instrument_data.nc", "tie_geometries.nc"
SUBSAMPLING = ("al_subsampling_factor", "ac_subsampling_factor")


def read(product: Path, bands: Sequence[Band]) -> Reading:
    """Read a product.

    Pixels with flag `invalid` or without a detector hold no measurement: satpy gives the latter the irradiance of
    detector 0.

    Raises:
        UserError: the folder was renamed, or a file is missing or cannot be read.
    """
    found = _NAME.fullmatch(product.name)
    if not found:
        raise UserError(
            f"{product.name} is not the name of an OLCI level-1B product; the reader needs the folder's own"
        )
    files = [f"{band.name}_radiance.nc" for band in bands]
    require(product, *files, GEOMETRY, QUALITY, INSTRUMENT, TIES)
    quality_file = open_file(product, QUALITY, decoded=False)
    quality = variable(quality_file, "quality_flags", product)
    detector = variable(open_file(product, INSTRUMENT), "detector_index", product)
    # The handlers read in square blocks of this constant; its default is a whole image, computed for every stripe.
    olci_nc.CHUNK_SIZE = ROWS
    names = [band.name for band in bands]
    scene = load(
        "olci_l1b",
        product,
        [product / file for file in (*files, GEOMETRY, INSTRUMENT)],
        [*names, "latitude", "longitude"],
    )
    ties = open_file(product, TIES)
    sun, view = (_zenith(product, ties, letter, quality.shape) for letter in "SO")
    return Reading(
        [scene[name] for name in names],
        ~has(quality, "invalid") & detector.notnull(),
        scene["latitude"],
        scene["longitude"],
        sun,
        view,
        _strata(quality),
        _attrs(product, quality_file.attrs, found),
    )


def _attrs(product: Path, attrs: dict[str, Any], name: re.Match[str]) -> dict[str, Any]:
    lacking = next((key for key in ("absolute_orbit_number", "start_time", "stop_time") if key not in attrs), None)
    if lacking:
        raise UserError(f"{QUALITY} of {product.name} has no attribute '{lacking}'")
    return {
        "granule": product.stem,
        **{key: _utc(product, attrs[key]) for key in ("start_time", "stop_time")},
        "orbit": f"{name[1]}-{int(attrs['absolute_orbit_number']):06d}",
        "frame": name[2].strip("_"),
        "provenance": {
            "baseline": str(attrs.get("source", "unknown")),
            "calibration": "pi * L / solar_flux of the pixel's detector, no further distance term",
            "geolocation": GEOMETRY,
            "view": "nadir",
            "grid": "FR" if "_EFR_" in product.name else "RR",
        },
    }


def _utc(product: Path, text: object) -> str:
    """Return a time without the Z at its end, as numpy reads it."""
    try:
        return str(np.datetime64(str(text).removesuffix("Z"), "us"))
    except ValueError:
        raise UserError(f"'{text}' in {QUALITY} of {product.name} is not a time") from None


def _strata(quality: xr.DataArray) -> dict[str, xr.DataArray]:
    """Return strata by the names of the quality flags; inland water carries the flag of land too."""
    inland, land = has(quality, "fresh_inland_water"), has(quality, "land")
    bright = has(quality, "bright").astype(np.uint8)
    return {
        "surface": flags("surface", xr.where(has(quality, "coastline"), 2, xr.where(inland, 3, land))),
        "land": flags("land", land & ~inland),
        "bright": bright.assign_attrs(flag_values=np.array([0, 1], np.uint8), flag_meanings="no yes"),
        **{name: flags(name, has(quality, flag)) for name, flag in STRATA.items()},
    }


def _zenith(product: Path, ties: xr.Dataset, letter: str, shape: tuple[int, ...]) -> xr.DataArray:
    """Return a zenith angle (y, x), degrees, of the sun (S) or the observer (O) from the tie points.

    Directions are interpolated as vectors, so that nothing happens where an azimuth turns from 359 to 0 degrees or
    jumps at the point below the satellite. satpy does so too, but for whole images at once.
    """
    zenith, azimuth = (np.deg2rad(variable(ties, f"{letter}{kind}A", product).values) for kind in "ZA")
    along, across = (int(ties.attrs.get(name, 0)) for name in SUBSAMPLING)
    steps = (along, across)
    if (
        min(steps) < 1
        or tuple((count - 1) * step + 1 for count, step in zip(zenith.shape, steps, strict=True)) != shape
    ):
        raise UserError(f"{TIES} of {product.name} has {zenith.shape} points, too many or too few for {shape} pixels")
    vectors = np.stack([np.sin(zenith) * np.cos(azimuth), np.sin(zenith) * np.sin(azimuth), np.cos(zenith)])
    rows = da.arange(shape[0], chunks=ROWS)[:, None]
    between = partial(_between, vectors=vectors, steps=steps, columns=shape[1])
    data = da.map_blocks(between, rows, chunks=(rows.chunks[0], (shape[1],)), dtype=np.float32)
    return xr.DataArray(data, dims=("y", "x"))


def _between(rows: np.ndarray, vectors: np.ndarray, steps: tuple[int, int], columns: int) -> np.ndarray:
    lines = _linear(vectors, rows[:, 0] / steps[0], axis=1)
    x, y, z = _linear(lines, np.arange(columns) / steps[1], axis=2)
    return np.rad2deg(np.arctan2(np.hypot(x, y), z)).astype(np.float32)


def _linear(values: np.ndarray, at: np.ndarray, axis: int) -> np.ndarray:
    """Return values (3, y, x) between the points of an axis."""
    low = np.minimum(at.astype(int), values.shape[axis] - 2)
    share = (at - low).reshape([-1 if place == axis else 1 for place in range(3)])
    return values.take(low, axis) * (1 - share) + values.take(low + 1, axis) * share
