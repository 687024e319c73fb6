"""Small OLCI level-1B folders (OL_1_ERR) with the files, names, types and scales of the product format.

No real product lies behind them: they are what satpy's `olci_l1b` reader and the published format ask for.
"""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np

NAME = "S3A_OL_1_ERR____20210710T095732_20210710T104147_20210711T151211_2655_074_022______LN1_O_NT_002.SEN3"
ATTRIBUTES = {
    "absolute_orbit_number": np.uint32(28104),
    "start_time": "2021-07-10T09:57:31.964122Z",
    "stop_time": "2021-07-10T10:41:47.213655Z",
    "product_name": NAME,
    "source": "IPF-OL-1-EO 06.11",
    "al_subsampling_factor": np.int32(1),
}
# From the highest of 32 bits to the lowest, as in the product format.
FLAGS = (
    "land coastline fresh_inland_water tidal_region bright straylight_risk invalid cosmetic duplicated sun-glint_risk"
    " dubious " + " ".join(f"saturated@Oa{band:02}" for band in range(1, 22))
).split()
MASKS = {name: np.uint32(1) << np.uint32(31 - place) for place, name in enumerate(FLAGS)}
ROWS, COLUMNS, STEP, DETECTORS = 20, 65, 16, 130
SCALE = 0.012


def solar_flux(band: int) -> np.ndarray:
    """Return the solar irradiance of a band (1 to 21) for each detector, different for every one."""
    return (1500 + 10 * band + np.arange(DETECTORS) * 0.5).astype(np.float32)


def detector_index() -> np.ndarray:
    """Return the detector of each pixel: two to a column, alternating by row."""
    return (2 * np.arange(COLUMNS)[None] + np.arange(ROWS)[:, None] % 2).astype(np.int16)


def constant(radiance: float = 90.0) -> dict[str, np.ndarray]:
    """Return the same radiance everywhere, in the bands that share a role with other instruments."""
    return {band: np.full((ROWS, COLUMNS), radiance) for band in ("Oa04", "Oa06", "Oa08", "Oa17")}


def write(
    folder: Path,
    radiance: dict[str, np.ndarray],
    sun: float | np.ndarray = 60.0,
    view: np.ndarray | None = None,
    flags: np.ndarray | None = None,
    detector: np.ndarray | None = None,
    name: str = NAME,
) -> Path:
    """Write a product.

    Args:
        folder: where the product is put.
        radiance: by band name, (ROWS, COLUMNS) W m-2 sr-1 um-1, NaN where there is none.
        sun: zenith angle at the tie points, degrees.
        view: zenith angle at the tie columns, degrees.
        flags: quality flags, (ROWS, COLUMNS).
        detector: detector index, (ROWS, COLUMNS), -1 where there is none.
        name: of the product.
    """
    product = folder / name
    product.mkdir(parents=True)
    for band, values in radiance.items():
        with _file(product / f"{band}_radiance.nc") as file:
            _put(file, f"{band}_radiance", values, "u2", SCALE, 65535)
    rows, columns = np.mgrid[:ROWS, :COLUMNS]
    with _file(product / "geo_coordinates.nc") as file:
        for which, values, unit in (
            ("latitude", 45 - rows * 0.011, "north"),
            ("longitude", 5 + columns * 0.015, "east"),
        ):
            _put(file, which, values, "i4", 1e-6, -(2**31))
            file[which].setncatts({"standard_name": which, "units": f"degrees_{unit}"})
    with _file(product / "instrument_data.nc") as file:
        _put(file, "detector_index", detector_index() if detector is None else detector, "i2", None, -1)
        file.createDimension("bands", 21)
        file.createDimension("detectors", DETECTORS)
        flux = file.createVariable("solar_flux", "f4", ("bands", "detectors"))
        flux[:] = np.stack([solar_flux(band) for band in range(1, 22)])
    with _file(product / "qualityFlags.nc") as file:
        _put(file, "quality_flags", np.zeros((ROWS, COLUMNS)) if flags is None else flags, "u4", None, None)
        file["quality_flags"].setncatts(
            {"flag_masks": np.array(list(MASKS.values()), np.uint32), "flag_meanings": " ".join(FLAGS)}
        )
    _tie_points(product, sun, np.abs(np.linspace(-20, 44, 5)) if view is None else view)
    return product


def _tie_points(product: Path, sun: float | np.ndarray, view: np.ndarray) -> None:
    shape = (ROWS, (COLUMNS - 1) // STEP + 1)
    # Azimuths differ by half a turn on the two sides of the point below the satellite.
    side = np.where(np.arange(shape[1]) < int(np.argmin(view)) + 1, -80.0, 100.0)
    angles = {"SZA": sun, "SAA": 140.0, "OZA": view, "OAA": side}
    with _file(product / "tie_geometries.nc", "tie_") as file:
        for name, values in angles.items():
            dtype, fill = ("u4", 2**32 - 1) if name.endswith("ZA") else ("i4", -(2**31))
            _put(file, name, np.broadcast_to(values, shape), dtype, 1e-6, fill, "tie_")


def _file(path: Path, kind: str = "") -> netCDF4.Dataset:
    file = netCDF4.Dataset(path, "w")
    file.setncatts({**ATTRIBUTES, "ac_subsampling_factor": np.int32(STEP)})
    file.createDimension(f"{kind}rows", ROWS)
    file.createDimension(f"{kind}columns", (COLUMNS - 1) // STEP + 1 if kind else COLUMNS)
    return file


def _put(
    file: netCDF4.Dataset,
    name: str,
    values: np.ndarray,
    dtype: str,
    scale: float | None,
    fill: int | None,
    kind: str = "",
) -> None:
    variable = file.createVariable(name, dtype, (f"{kind}rows", f"{kind}columns"), fill_value=fill, zlib=True)
    if scale is not None:
        variable.setncatts({"scale_factor": scale, "add_offset": 0.0})
    whole = np.asarray(values, float)
    variable[:] = np.ma.masked_array(np.nan_to_num(whole), np.isnan(whole))
