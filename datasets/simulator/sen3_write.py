"""NetCDF files in the form of a Sentinel-3 product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

LEVEL = 2  # of the compression, with shuffling, as real products have it
CHUNK = (1200, 1500)  # at most, likewise


@dataclass(frozen=True)
class Variable:
    """One variable as it is stored: packed values, and attributes among which _FillValue, scale_factor, add_offset."""

    name: str
    dims: tuple[str, ...]
    values: np.ndarray
    attrs: Mapping[str, Any] = field(default_factory=dict)


def write(path: Path, attrs: Mapping[str, Any], variables: Sequence[Variable]) -> None:
    """Write a file; the sizes of its dimensions are those of the variables."""
    import netCDF4

    with netCDF4.Dataset(path, "w", format="NETCDF4") as file:
        file.setncatts(attrs)
        for variable in variables:
            for name, size in zip(variable.dims, variable.values.shape, strict=True):
                if name not in file.dimensions:
                    file.createDimension(name, size)
            _put(file, variable)


def _put(file: Any, variable: Variable) -> None:
    values, attrs = variable.values, dict(variable.attrs)
    text = values.dtype == object
    chunks = tuple(min(size, most) for size, most in zip(values.shape, CHUNK, strict=False))
    stored = file.createVariable(
        variable.name,
        str if text else values.dtype,
        variable.dims,
        compression=None if text else "zlib",
        complevel=LEVEL,
        chunksizes=None if text else chunks,
        fill_value=attrs.pop("_FillValue", None),
    )
    stored.set_auto_maskandscale(False)
    stored.setncatts(attrs)
    stored[:] = values


def pack(values: np.ndarray, dtype: type, scale: float, offset: float = 0.0) -> np.ndarray:
    """Return values as stored numbers; beyond the type's range they are its ends, but never the fill value."""
    limit = np.iinfo(dtype).max
    return np.clip(np.rint((values - offset) / scale), -limit, limit).astype(dtype)
