"""Reading the GeoTIFFs of a patch folder."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.warp
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from benchmark.api import CLEAR, CLOUD, IGNORE, UserError

WGS84 = "EPSG:4326"
LARGEST = 2**27  # values of a file: few bytes may stand for more than fits into memory


@dataclass(frozen=True)
class Raster:
    """One GeoTIFF: (b, y, x) values, band descriptions ("" where none), no-data values, and centre in degrees."""

    values: np.ndarray
    descriptions: tuple[str, ...]
    nodata: tuple[float | None, ...]
    lat: float
    lon: float


def read_raster(path: Path) -> Raster:
    """Read a GeoTIFF.

    Raises:
        UserError: the file is missing, cannot be read whole, or is too large for a patch.
    """
    if not path.exists():
        raise UserError(f"{path.name} is missing from {path.parent}")
    with warnings.catch_warnings():
        # Patches cut from their scene without a georeference are common, and their centre is then unknown.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            with rasterio.open(path, driver="GTiff") as file:  # GDAL knows formats that lead to other files
                if file.count * file.width * file.height > LARGEST:
                    raise UserError(f"{path} has {file.count} bands of {file.width}x{file.height} pixels: no patch")
                descriptions = tuple(text or "" for text in file.descriptions)
                return Raster(file.read(), descriptions, file.nodatavals, *_centre(file))
        except RasterioError as error:
            raise UserError(f"{path} cannot be read as a GeoTIFF: {error}") from None


def _centre(file: Any) -> tuple[float, float]:
    """Return latitude and longitude of the centre, NaN without a georeference."""
    if file.crs is None or file.transform.is_identity:
        return np.nan, np.nan
    x, y = file.xy(file.height / 2, file.width / 2, offset="ul")
    (lon,), (lat,) = rasterio.warp.transform(file.crs, WGS84, [x], [y])
    return lat, lon


def valid_values(raster: Raster) -> np.ndarray:
    """Return the values as float32 with NaN in place of each band's no-data value."""
    values = raster.values.astype(np.float32)
    for band, original, nodata in zip(values, raster.values, raster.nodata, strict=True):
        if nodata is not None:
            band[original == nodata] = np.nan
    return values


def read_mask(path: Path) -> np.ndarray:
    """Read a cloud mask (y, x) uint8: 0 clear, 1 cloud; 255, -1, NaN and no-data become 255.

    Raises:
        UserError: the file cannot be read, or holds another value.
    """
    raster = read_raster(path)
    labels, nodata = raster.values[0], raster.nodata[0]
    if nodata in (CLEAR, CLOUD):
        raise UserError(f"{path.name} declares {nodata:g} as no-data, which is also a label")
    ignored = np.isin(labels, [IGNORE, -1]) | (labels == nodata) | (labels != labels)
    wrong = ~ignored & (labels != CLEAR) & (labels != CLOUD)
    if wrong.any():
        raise UserError(f"{path.name} has label value {labels[wrong][0]:g}; labels are 0, 1, and 255 or -1 to ignore")
    return np.where(ignored, IGNORE, labels == CLOUD).astype(np.uint8)


def read_classes(path: Path) -> np.ndarray:
    """Read a class map (y, x) as uint8.

    Raises:
        UserError: the file cannot be read, or holds what is no whole number from 0 to 255.
    """
    values = read_raster(path).values[0]
    classes = values.astype(np.uint8)
    if (classes != values).any():
        raise UserError(f"{path.name} has class {values[classes != values][0]:g}; classes are whole numbers to 255")
    return classes
