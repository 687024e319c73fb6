"""Bands, grids and files of an SLSTR level-1B product, and their lazy reading."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import xarray as xr

from benchmark.api import BRIGHTNESS_TEMPERATURE, ELEVATION, REFLECTANCE, Band, UserError

# Rows of a Dask block: a stripe of patches of the usual size is whole blocks.
ROWS = 224
VIEWS = {"nadir": "n", "oblique": "o"}

# Band centres in um as in the manifest's band table.
BANDS = {
    band.name: band
    for band in (
        Band("S1", "GREEN", 0.55427, REFLECTANCE),
        Band("S2", "RED", 0.65947, REFLECTANCE),
        Band("S3", "NIR_NARROW", 0.868, REFLECTANCE),
        Band("S4", "CIRRUS", 1.3748, REFLECTANCE),
        Band("S5", "SWIR_1", 1.6134, REFLECTANCE),
        Band("S6", "SWIR_2", 2.2557, REFLECTANCE),
        Band("S7", "BT_37", 3.742, BRIGHTNESS_TEMPERATURE),
        Band("S8", "BT_11", 10.854, BRIGHTNESS_TEMPERATURE),
        Band("S9", "BT_12", 12.0225, BRIGHTNESS_TEMPERATURE),
        Band("F1", "BT_37_FIRE", 3.742, BRIGHTNESS_TEMPERATURE),
        Band("F2", "BT_11_FIRE", 10.854, BRIGHTNESS_TEMPERATURE),
    )
}
HEIGHT = Band("elevation", "ELEVATION", 0.0, ELEVATION)  # known beforehand, and on every grid
DEFAULT = tuple(f"S{number}" for number in range(1, 10))


def stripe(band: str) -> str:
    """Return the letter of the grid that a band is stored on: a (500 m), i or, for F1, f (1 km)."""
    if BANDS[band].quantity == REFLECTANCE:
        return "a"
    return "f" if band == "F1" else "i"


def band_file(band: str, view: str) -> str:
    """Return the name of the file that holds a band, for a view n or o."""
    kind = "radiance" if BANDS[band].quantity == REFLECTANCE else "BT"
    return f"{band}_{kind}_{stripe(band)}{view}.nc"


def needed(band: str, view: str) -> tuple[str, ...]:
    """Return the names of all files that the radiometry of a band needs."""
    return (band_file(band, view), f"indices_{stripe(band)}{view}.nc", "viscal.nc")


def choose(product: Path, bands: Sequence[str], view: str) -> tuple[str, ...]:
    """Return the names of the wanted bands, given by name or role, `elevation` among them; none stands for S1 to S9.

    Raises:
        UserError: an unknown or empty band name, or one that the product lacks in this view; an unknown view; elevation
            without a band that was measured.
    """
    if view not in VIEWS:
        raise UserError(f"there is no view '{view}'; views are {', '.join(VIEWS)}")
    there = [band for band in BANDS if (product / band_file(band, VIEWS[view])).exists()]
    if not there:
        raise UserError(f"{product.name} holds no band in {view} view")
    roles = {band.role: band.name for band in (*BANDS.values(), HEIGHT)}
    wanted = [roles.get(band, band) for band in bands or DEFAULT]
    if not all(wanted):
        raise UserError("one of the bands has an empty name; bands are named with commas between them, as in S1,S8")
    measured = [band for band in wanted if band != HEIGHT.name]
    unknown = next((band for band in measured if band not in BANDS), None)
    if unknown:
        known = ", ".join((*BANDS, HEIGHT.name))
        raise UserError(f"SLSTR has no band '{unknown}'; bands are {known} and roles {', '.join(roles)}")
    if not measured:
        raise UserError("elevation alone shows no cloud; name bands that were measured with it, as in S1,S8,elevation")
    lacking = [band for band in measured if band not in there]
    if lacking:
        raise UserError(
            f"{product.name} lacks {', '.join(lacking)} in {view} view; choose with --bands from {', '.join(there)}"
        )
    return tuple(dict.fromkeys(wanted))


def require(product: Path, *files: str) -> None:
    """Raise UserError unless the product holds all these files."""
    missing = next((file for file in files if not (product / file).exists()), None)
    if missing:
        raise UserError(f"{missing} is missing from {product.name}")


def open_file(product: Path, file: str, decoded: bool = True) -> xr.Dataset:
    """Open a file of a product, rows and columns called y and x, in Dask blocks of whole rows.

    Args:
        product: its folder.
        file: name of the file.
        decoded: apply scale and fill; False keeps stored numbers, as flags need it.

    Raises:
        UserError: the file is missing or no NetCDF file.
    """
    require(product, file)
    try:
        ds = xr.open_dataset(product / file, engine="netcdf4", mask_and_scale=decoded, decode_times=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{file} of {product.name} cannot be read, it may be incomplete: {error}") from None
    ds = ds.rename({old: new for old, new in (("rows", "y"), ("columns", "x")) if old in ds.dims})
    # Divided after opening: blocks asked for in `open_dataset` draw a warning where they part the stored ones.
    return ds.chunk({"y": ROWS, "x": -1}) if "y" in ds.dims else ds


def variable(ds: xr.Dataset, name: str, product: Path) -> xr.DataArray:
    """Return a variable of a file; UserError where it has none of this name."""
    if name not in ds:
        raise UserError(f"variable {name} is missing from {Path(ds.encoding['source']).name} of {product.name}")
    return ds[name]
