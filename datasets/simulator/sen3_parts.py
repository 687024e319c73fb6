"""What the files of a simulated level-1B product share: attributes, fill values, flags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from datasets.simulator import tables
from datasets.simulator.product_frame import Frame, utc
from datasets.simulator.product_geometry import TIE_TRACK, sun_distance
from datasets.simulator.sen3_write import Variable

FILL: dict[type, int] = {
    np.int16: -32768,
    np.int32: -2147483648,
    np.int64: -9223372036854775808,
    np.uint8: 255,
    np.uint16: 65535,
}


@dataclass(frozen=True)
class File:
    """One file of a product: its name, what the manifest calls it, and its content."""

    name: str
    summary: str
    attrs: dict[str, Any]
    variables: list[Variable]


def irradiance(frame: Frame) -> np.ndarray:
    """Return the solar irradiance of S1..S6 at the sun's distance, mW m-2 nm-1."""
    return np.asarray(tables.SOLAR_IRRADIANCE / sun_distance(frame.day) ** 2)


def attributes(frame: Frame, grid: str) -> dict[str, Any]:
    """Return the global attributes of a file on a grid: an, in, fn, tx or tn."""
    fine, tie = grid == "an", grid[0] == "t"
    return {
        "absolute_orbit_number": np.uint32(frame.orbit.absolute),
        "comment": "Simulated scene, not a measurement.",
        **origin(frame),
        "resolution": "[ 16000 1000 ]" if tie else "[ 500 500 ]" if fine else "[ 1000 1000 ]",
        "start_offset": np.int32(frame.start_offset * (2 if fine else 1)),
        "start_time": utc(frame.start),
        "stop_time": utc(frame.stop),
        "track_offset": np.int32(TIE_TRACK if tie else frame.track if fine else frame.track // 2),
    }


def origin(frame: Frame) -> dict[str, Any]:
    """Return the global attributes that every file has."""
    return {
        "contact": " ",
        "creation_time": f"{frame.creation}Z".replace("-", "").replace(":", ""),
        "history": f"simulated with seed {frame.seed}, regime {frame.regime.name}",
        "institution": "none: simulated",
        "netCDF_version": "4",
        "product_name": frame.name,
        "references": " ",
        "source": "simulated, laid out as IPF-SL-1 06.18",
        "title": "Simulated SLSTR level-1 radiances and brightness temperatures",
    }


def filled(name: str, dims: tuple[str, ...], values: np.ndarray, **attrs: Any) -> Variable:
    """Return a variable whose fill value is the usual one of its type."""
    fill = np.nan if values.dtype.kind == "f" else FILL[values.dtype.type]
    return Variable(name, dims, values, {"_FillValue": values.dtype.type(fill), **attrs})


def flag(name: str, dims: tuple[str, ...], values: np.ndarray, meanings: str, **attrs: Any) -> Variable:
    """Return a variable of flags, one bit each in the order of `meanings`."""
    masks = (2 ** np.arange(len(meanings.split()))).astype(values.dtype)
    return Variable(name, dims, values, {"flag_masks": masks, "flag_meanings": meanings, **attrs})
