"""Cloud masks of products in files beside them: GeoTIFF or NetCDF, on the product's own grid.

A mask is 0 clear, 1 cloud; 255, -1 and the file's no-data value to ignore. In a NetCDF file it is the variable `mask`
or the only two-dimensional one of whole numbers. Of its global attributes `label_bands` may list the bands that it
derives from ("" for none), `label_source` may say what it is, and `product_name` which product it belongs to: the mask
of another product is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.api import CLEAR, CLOUD, IGNORE, UserError

if TYPE_CHECKING:
    import xarray as xr

PREFIX = "file:"
FIELD = "{product}"
SUFFIXES = (".zip", ".nat", ".SEN3")  # of products; other dots belong to their names


def find(label: str, product: Path) -> Path:
    """Return the mask file of a product.

    Args:
        label: `file:TEMPLATE`; {product} in it stands for the product's name without .SEN3, .nat or .zip, and must be
            there. The template is relative to the folder that the product lies in.
        product: the product.

    Raises:
        UserError: the template is empty, or has no {product} or other braces.
    """
    template = label.removeprefix(PREFIX)
    if not template:
        raise UserError(f"label '{label}' names no file, as in file:{FIELD}.truth.nc")
    if any(brace in template.replace(FIELD, "") for brace in "{}"):
        raise UserError(f"label '{label}' may hold the field {FIELD} and no other braces")
    if FIELD not in template:
        raise UserError(f"label '{label}' names one file for all products; put {FIELD} in it")
    return product.parent / template.replace(FIELD, _bare(product.name))


def _bare(name: str) -> str:
    """Return the name of a product without its suffixes."""
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def add(ds: xr.Dataset, product: Path, label: str) -> xr.Dataset:
    """Return the granule with the mask of its file; the pixels are read now, one byte each.

    Raises:
        UserError: there is no such file, it cannot be read, belongs to another product, or does not fit the granule.
    """
    import dask.array as da

    path = find(label, product)
    mask = da.from_array(read(path, (ds.sizes["y"], ds.sizes["x"])), chunks=ds["lat"].chunks)
    source, bands, owner = _described(path)
    if owner is not None and _bare(owner) != _bare(product.name):
        raise UserError(f"{path.name} is the mask of {owner}, as its product_name says, and not of {product.name}")
    return ds.assign(mask=(("y", "x"), mask)).assign_attrs(label_source=source, label_bands=bands)


def read(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Return a mask (y, x) uint8 of this shape.

    A mask of twice the rows and columns becomes cloud where at least half of the four pixels that have a label are
    cloud; a displacement between the two grids is not followed.

    Raises:
        UserError: the file is missing or cannot be read, holds another value, or has another size.
    """
    if not path.exists():
        raise UserError(f"mask file {path.name} is missing from {path.parent}")
    if path.is_dir():
        raise UserError(f"{path} is a folder, and a mask is a file")
    values, nodata = _netcdf(path) if path.suffix == ".nc" else _geotiff(path)
    mask = _labels(values, nodata, path.name)
    if mask.shape == tuple(2 * length for length in shape):
        mask = _halved(mask)
    if mask.shape != tuple(shape):
        raise UserError(
            f"{path.name} has {mask.shape[0]}x{mask.shape[1]} pixels, and the product's grid {shape[0]}x{shape[1]}"
        )
    return mask


def _geotiff(path: Path) -> tuple[np.ndarray, Sequence[Any]]:
    from datasets._patch_tiffs import read_raster

    raster = read_raster(path)
    return raster.values[0], raster.nodata[:1]


def _netcdf(path: Path) -> tuple[np.ndarray, Sequence[Any]]:
    with _opened(path) as file:
        plain = [name for name, values in file.data_vars.items() if values.ndim == 2 and values.dtype.kind in "iu"]
        name = "mask" if "mask" in file else plain[0] if len(plain) == 1 else None
        if name is None or file[name].ndim != 2:
            raise UserError(f"{path.name} has neither a variable 'mask' (y, x) nor a single one of whole numbers")
        attrs = file[name].attrs
        try:
            return file[name].values, [attrs[key] for key in ("_FillValue", "missing_value") if key in attrs]
        except (OSError, RuntimeError) as error:
            raise UserError(f"{path} cannot be read: {error}") from None


def _opened(path: Path) -> xr.Dataset:
    import xarray as xr

    try:
        return xr.open_dataset(path, engine="netcdf4", decode_cf=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as a NetCDF file: {error}") from None


def _labels(values: np.ndarray, nodata: Sequence[Any], name: str) -> np.ndarray:
    """Return labels as uint8, 255 where they are to be ignored."""
    clash = next((value for value in nodata if value in (CLEAR, CLOUD)), None)
    if clash is not None:
        raise UserError(f"{name} declares {clash:g} as no-data, which is also a label")
    ignored = np.isin(values, [IGNORE, -1, *(value for value in nodata if value is not None)]) | (values != values)
    wrong = ~ignored & (values != CLEAR) & (values != CLOUD)
    if wrong.any():
        raise UserError(f"{name} has label value {values[wrong][0]:g}; labels are 0, 1, and 255 or -1 to ignore")
    return np.where(ignored, IGNORE, values == CLOUD).astype(np.uint8)


def _halved(mask: np.ndarray) -> np.ndarray:
    fours = mask.reshape(mask.shape[0] // 2, 2, mask.shape[1] // 2, 2)
    known, cloud = ((fours != IGNORE).sum(axis=(1, 3)), (fours == CLOUD).sum(axis=(1, 3)))
    return np.where(known == 0, IGNORE, 2 * cloud >= known).astype(np.uint8)


def _described(path: Path) -> tuple[str, list[str] | None, str | None]:
    """Return what a mask is, and which bands it derives from and whose it is, None if its file does not say."""
    if path.suffix != ".nc":
        return f"mask files as {path.suffix}", None, None
    with _opened(path) as file:
        bands = file.attrs.get("label_bands")
        listed = None if bands is None else str(bands).replace(",", " ").split()
        owner = str(file.attrs.get("product_name", "")).strip() or None
        return str(file.attrs.get("label_source", "mask files as .nc")), listed, owner
