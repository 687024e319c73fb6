"""Masks of whole products on disk: NetCDF after CF-1.8, written in blocks of rows, and Cloud-Optimised GeoTIFF."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import netCDF4
import numpy as np
import rasterio
import rasterio.shutil
from rasterio.control import GroundControlPoint
from rasterio.errors import RasterioError
from rasterio.io import DatasetWriter

from benchmark.api import CLEAR, CLOUD, IGNORE, UserError

FILL = -1  # CF-1.8 knows no unsigned bytes; as a byte it has the bits of 255
STEP = 1e-4  # of the packed probability
ROWS = 256  # of a chunk, and of a block that is copied
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
PERCENT = 100  # the GeoTIFF's second band is in percent, so that it is of the same type as the mask
POINTS = 16  # ground control points along each axis
AXES = {"latitude": ("lat", "degrees_north", 90.0), "longitude": ("lon", "degrees_east", 180.0)}


class MaskWriter:
    """Writes the mask of a product under a temporary name and renames it when the `with` block ends without an error.

    Args:
        path: the NetCDF file.
        shape: rows and columns.
        time: middle of the product, UTC.
        attrs: global attributes.
    """

    def __init__(self, path: Path, shape: tuple[int, int], time: datetime, attrs: Mapping[str, Any]) -> None:
        self.path, self.shape, self.time, self.attrs = path, shape, time, attrs
        self._partial = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.nc")

    def __enter__(self) -> MaskWriter:
        with _writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = netCDF4.Dataset(self._partial, "w")
            try:
                self._define()
            except BaseException:
                self._discard()
                raise
        return self

    def _define(self) -> None:
        for name, length in zip(("y", "x"), self.shape, strict=True):
            self._file.createDimension(name, length)
        time = self._file.createVariable("time", "f8")
        time.setncatts({"standard_name": "time", "long_name": "middle of the product", "calendar": "standard"})
        time.units = f"seconds since {EPOCH:%Y-%m-%d %H:%M:%S}"
        time[...] = (self.time - EPOCH).total_seconds()
        for standard, (name, units, limit) in AXES.items():
            facts = {"standard_name": standard, "long_name": f"{standard} of the pixel's centre", "units": units}
            self._plane(name, "f4", np.float32(np.nan), facts | {"valid_range": np.array([-limit, limit], np.float32)})
        mask = {
            "standard_name": "cloud_binary_mask",
            "long_name": "cloud mask",
            "units": "1",
            "flag_values": np.array([CLEAR, CLOUD], np.int8),
            "flag_meanings": "clear cloud",
            "valid_range": np.array([CLEAR, CLOUD], np.int8),
            "ancillary_variables": "cloud_probability",
        }
        self._plane("cloud_mask", "i1", np.int8(FILL), mask | {"coordinates": "time lat lon"})
        probability = {
            "long_name": "probability of cloud as the method gives it",
            "units": "1",
            "scale_factor": STEP,
            "add_offset": 0.0,
            "valid_range": np.array([0, round(1 / STEP)], np.int16),
        }
        self._plane("cloud_probability", "i2", np.int16(FILL), probability | {"coordinates": "time lat lon"})
        self._file.setncatts({"Conventions": "CF-1.8", **self.attrs})

    def _plane(self, name: str, kind: str, fill: Any, attrs: Mapping[str, Any]) -> None:
        chunks = (min(ROWS, self.shape[0]), self.shape[1])
        plane = self._file.createVariable(
            name, kind, ("y", "x"), fill_value=fill, compression="zlib", complevel=1, shuffle=True, chunksizes=chunks
        )
        # The library keeps tens of megabytes of each variable unless told how little is needed.
        plane.set_var_chunk_cache(size=2 * math.prod(chunks) * plane.dtype.itemsize)
        plane.set_auto_maskandscale(False)
        plane.setncatts(attrs)

    def write(
        self, begin: int, probability: np.ndarray, valid: np.ndarray, threshold: float, **axes: np.ndarray
    ) -> None:
        """Write rows from `begin` on.

        Args:
            begin: first of these rows.
            probability: (y, x) float32 in [0, 1].
            valid: (y, x) whether there was anything to judge by.
            threshold: probability above which a pixel is cloud.
            axes: lat and lon, (y, x) float32 degrees.
        """
        where = slice(begin, begin + len(probability))
        cloud = probability > threshold
        with _writing(self.path):
            self._file["cloud_mask"][where] = np.where(valid, cloud, FILL).astype(np.int8)
            self._file["cloud_probability"][where] = np.where(valid, pack(probability, threshold), FILL)
            for name, values in axes.items():
                self._file[name][where] = values

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._discard()
            return
        with _writing(self.path):
            try:
                self._file.close()
                self._partial.replace(self.path)
            finally:
                self._partial.unlink(missing_ok=True)

    def _discard(self) -> None:
        if self._file.isopen():
            self._file.close()
        self._partial.unlink(missing_ok=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what a full disk or a closed folder raises into a sentence."""
    try:
        yield
    except (OSError, RuntimeError, RasterioError) as error:
        raise UserError(f"{path} cannot be written: {error}") from None


def pack(probability: np.ndarray, threshold: float) -> np.ndarray:
    """Return the probability in steps of STEP, int16, on the same side of the threshold as before."""
    packed = np.rint(probability / np.float32(STEP))
    edge = math.floor(threshold / STEP + 1e-6)
    return np.where(probability > threshold, np.maximum(packed, edge + 1), np.minimum(packed, edge)).astype(np.int16)


def provenance(path: Path) -> dict[str, Any]:
    """Return the global attributes of a mask; none where there is no file, or none that can be read."""
    try:
        with netCDF4.Dataset(path) as file:
            return {name: file.getncattr(name) for name in file.ncattrs()}
    except OSError:
        return {}


def blocks(path: Path, *names: str) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Yield (first row, these variables as they are stored) of a mask, a block of rows at a time."""
    with netCDF4.Dataset(path) as file:
        file.set_auto_maskandscale(False)
        for begin in range(0, len(file.dimensions["y"]), ROWS):
            yield begin, [np.asarray(file[name][begin : begin + ROWS]) for name in names]


def write_cog(source: Path, path: Path) -> None:
    """Write a mask as Cloud-Optimised GeoTIFF: 0 clear, 1 cloud, 255 unknown; the probability in percent.

    The grid stays that of the product; ground control points give longitude and latitude of some pixels' centres.

    Args:
        source: NetCDF file that `MaskWriter` wrote.
        path: GeoTIFF to write.

    Raises:
        UserError: it cannot be written, or the product has too few pixels with a place.
    """
    plain, partial = (path.with_name(f".{path.stem}.{uuid.uuid4().hex}.{kind}") for kind in ("plain.tif", "tif"))
    attrs = provenance(source)
    try:
        with netCDF4.Dataset(source) as file:
            gcps, shape = _gcps(file), file["cloud_mask"].shape
        profile = {"driver": "GTiff", "height": shape[0], "width": shape[1], "count": 2, "dtype": "uint8"}
        profile |= {"nodata": IGNORE, "tiled": True, "blockxsize": ROWS, "blockysize": ROWS, "compress": "deflate"}
        with _writing(path):
            with rasterio.open(plain, "w", gcps=gcps, crs="EPSG:4326", **profile) as raster:
                _fill(raster, source)
                raster.update_tags(**{name: str(value) for name, value in attrs.items()})
            rasterio.shutil.copy(
                plain, partial, driver="COG", compress="DEFLATE", blocksize=2 * ROWS, overview_resampling="NEAREST"
            )
            partial.replace(path)
    finally:
        for leftover in (plain, partial):
            leftover.unlink(missing_ok=True)


def _fill(raster: DatasetWriter, source: Path) -> None:
    for begin, (mask, probability) in blocks(source, "cloud_mask", "cloud_probability"):
        percent = np.where(probability == FILL, IGNORE, np.rint(probability * (STEP * PERCENT))).astype(np.uint8)
        window = ((begin, begin + len(mask)), (0, mask.shape[1]))
        raster.write(np.stack([mask.view(np.uint8), percent]), window=window)
    raster.descriptions = ("cloud_mask", "cloud_probability")
    raster.scales, raster.units = (1.0, 1 / PERCENT), ("", "1")


def _gcps(file: netCDF4.Dataset) -> list[GroundControlPoint]:
    """Return points at equal steps over the grid; longitudes go on beyond 180 where the date line is crossed."""
    rows, columns = (np.unique(np.linspace(0, length - 1, POINTS).astype(int)) for length in file["lat"].shape)
    lat, lon = (np.stack([np.ma.filled(file[name][row], np.nan)[columns] for row in rows]) for name in ("lat", "lon"))
    known = np.argwhere(np.isfinite(lat) & np.isfinite(lon))
    if len(known) < 4:
        raise UserError(f"{file.filepath()} has fewer than 4 pixels with a place, too few to place a GeoTIFF")
    middle = lon[tuple(known[len(known) // 2])]
    lon = (lon - middle + 180) % 360 - 180 + middle
    # GDAL counts from the corner of the first pixel, so a centre is half a pixel on.
    return [
        GroundControlPoint(float(rows[y]) + 0.5, float(columns[x]) + 0.5, float(lon[y, x]), float(lat[y, x]))
        for y, x in known
    ]
