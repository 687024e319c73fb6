"""Reflectance and brightness temperature of SLSTR bands, calibrated by satpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from satpy import DataQuery, Scene
from satpy.readers import slstr_l1b

from benchmark.api import REFLECTANCE, UserError
from datasets import _slstr_flags as flags
from datasets._satpy_quiet import quiet
from datasets._slstr_files import BANDS, ROWS, VIEWS, band_file, needed, open_file, stripe, variable

# Beyond this zenith angle of the sun in degrees, 1/cos grows past 11 and refraction and the earth's curvature, which
# the division leaves out, are no longer small.
SUN_LIMIT = 85.0
# Pixels that hold no measurement. `pixel_absent` is not among them: cosmetically filled pixels carry it beside a copy
# of their neighbour. `saturation` is not: the brightest clouds are saturated.
INVALID = ("ISP_absent", "not_decompressed", "no_signal", "no_parameters", "unfilled_pixel")
# In thermal bands it marks what lies above the calibrated range (S7 above 305 K, as warm land by day does); without
# these pixels nothing but cool and cloudy ground would be left.
INVALID_REFLECTIVE = (*INVALID, "invalid_radiance")
CONVENTION = "fraction: pi * L * factor / (E0 of viscal.nc * cos(sun zenith)), no further distance term"


def factor(band: str, view: str) -> float:
    """Return what satpy multiplies radiance or brightness temperature with; 1 for the fire bands."""
    return float(slstr_l1b.CHANCALIB_FACTORS.get(f"{band}_{view}", 1.0))


def load(product: Path, bands: Sequence[str], view: str) -> dict[str, xr.DataArray]:
    """Return bands as measured, (y, x) float32 on their own grids, lazy, NaN where there is no measurement.

    Reflectance is a fraction that is not yet divided by cos(sun zenith); brightness temperature is in K.

    Raises:
        UserError: a file or a variable is missing or cannot be read, or a band has no valid pixel.
    """
    letter = VIEWS[view]
    for band in bands:
        for file in needed(band, letter):
            open_file(product, file)
    _check(product, bands, view)
    raw = _calibrated(product, bands, view)
    valid = {band: _measured(product, band, f"{stripe(band)}{letter}") for band in bands}
    found = {}
    for band in bands:
        scale = 0.01 if BANDS[band].quantity == REFLECTANCE else 1.0
        values = raw[band].chunk({"y": ROWS, "x": -1}).drop_vars(list(raw[band].coords)) * scale
        found[band] = values.where(valid[band]).astype(np.float32)
        if not _any_valid(product, found[band]):
            raise UserError(f"band {band} of {product.name} has no valid pixel in {view} view")
    return found


def _check(product: Path, bands: Sequence[str], view: str) -> None:
    """Raise UserError where satpy would fail, at an unknown detector not before its pixels are computed."""
    solar: dict[str, int] = {}
    for band in bands:
        file = band_file(band, VIEWS[view])
        variable(open_file(product, file), file.removesuffix(".nc"), product)
        if BANDS[band].quantity == REFLECTANCE:
            solar[band] = len(variable(open_file(product, "viscal.nc"), f"{band}_solar_irradiances", product))
    if not solar:
        return
    name = f"detector_a{VIEWS[view]}"
    last = float(_computed(product, variable(open_file(product, f"indices_a{VIEWS[view]}.nc"), name, product).max()))
    band = min(solar, key=lambda name: solar[name])
    if last >= solar[band]:
        raise UserError(f"{name} of {product.name} holds {last:g}, and viscal.nc has {solar[band]} detectors of {band}")


def _computed(product: Path, values: xr.DataArray) -> xr.DataArray:
    try:
        return values.compute()
    except (OSError, RuntimeError) as error:  # netCDF4 raises either for a damaged chunk
        raise UserError(f"{product.name} cannot be read: {error}") from None


def _calibrated(product: Path, bands: Sequence[str], view: str) -> dict[str, xr.DataArray]:
    """Return satpy's reflectance in percent and brightness temperature in K.

    Raises:
        UserError: satpy does not read a file.
    """
    queries = {
        band: DataQuery(name=band, view=view, stripe=stripe(band), calibration=BANDS[band].quantity) for band in bands
    }
    files = [str(product / band_file(band, VIEWS[view])) for band in bands]
    with quiet(["Warning: No radiance adjustment supplied for channel F"]):
        # The handlers read in square blocks of this constant; its default is a whole image, computed for every stripe.
        slstr_l1b.CHUNK_SIZE = ROWS
        try:
            scene = Scene(filenames=files, reader="slstr_l1b")
            scene.load(list(queries.values()))
            return {band: scene[query] for band, query in queries.items()}
        except (OSError, ValueError, LookupError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{product.name} cannot be read with satpy's slstr_l1b: {reason}") from None


def _measured(product: Path, band: str, grid: str) -> xr.DataArray:
    """Return where a band holds a measurement whose detector is known: without it satpy gives radiance as percent."""
    reflective = BANDS[band].quantity == REFLECTANCE
    bad = flags.has(flags.exception(product, band, grid), *(INVALID_REFLECTIVE if reflective else INVALID))
    if not reflective:
        return ~bad
    detector = variable(open_file(product, f"indices_{grid}.nc"), f"detector_{grid}", product)
    return detector.notnull() & ~bad


def _any_valid(product: Path, values: xr.DataArray) -> bool:
    """Whether a band has a valid pixel; looks from the middle outward, and usually at one block."""
    blocks = range(values.data.numblocks[0])
    middle = len(blocks) // 2
    order = sorted(blocks, key=lambda block: abs(block - middle))
    parts = (xr.DataArray(np.isfinite(values.data.blocks[block]).any()) for block in order)
    return any(bool(_computed(product, part)) for part in parts)


def normalise(values: xr.DataArray, sun_zenith: xr.DataArray) -> xr.DataArray:
    """Divide reflectance by the cosine of the sun's zenith angle; NaN where the sun is lower than SUN_LIMIT."""
    cosine = np.cos(np.deg2rad(sun_zenith.where(sun_zenith <= SUN_LIMIT)))
    return (values / cosine).astype(np.float32)


def provenance(bands: Sequence[str], view: str) -> Mapping[str, object]:
    """Return factors and conventions that were applied, plain JSON."""
    return {
        "calibration": {band: factor(band, view) for band in bands},
        "reflectance_convention": CONVENTION,
        "sun_zenith_limit": SUN_LIMIT,
    }
