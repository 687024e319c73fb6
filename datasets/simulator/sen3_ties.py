"""The files of a simulated level-1B product that have no image: tie points, times, calibration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from datasets.simulator import product_geometry as geometry
from datasets.simulator.product_frame import SCAN, Frame, utc
from datasets.simulator.sen3_parts import File, attributes, filled, irradiance, origin
from datasets.simulator.sen3_write import Variable

OBLIQUE = (453, 501)  # scans by which the oblique view is later, first and last of a row
EPOCH = np.datetime64("2000-01-01", "us")
SAMPLE_TIME = np.float32(81.74)  # microseconds
FIRST_SAMPLES = {"NADIR": 2469, "OBLIQUE": 1122}
GRID = ("rows", "columns")


def ties(frame: Frame) -> Iterator[File]:
    """Yield cartesian_tx, geodetic_tx and geometry_tn, on points 16 km apart across the track and 1 km along it."""
    along, across = geometry.ties(frame)
    shape = (len(along), len(across))
    x = np.broadcast_to(-1000.0 * across, shape)
    y = np.broadcast_to(geometry.northing(frame, along[:, None]), shape)
    yield _tie_file(frame, "cartesian_tx", {"x_tx": (x, {"units": "m"}), "y_tx": (y, {"units": "m"})})
    yield _tie_file(frame, "geodetic_tx", _coordinates(*geometry.places(frame, along[:, None], across)))
    angles = {}
    for name, values in geometry.angles(frame).items():
        body = "satellite" if name.startswith("sat") else "solar"
        angle = {"standard_name": f"{body}_{name.split('_')[1]}_angle", "units": "degrees"}
        angles[f"{name}_tn"] = (values, {"units": "m"} if name.endswith("path") else angle)
    yield _tie_file(frame, "geometry_tn", angles)


def _coordinates(latitude: np.ndarray, longitude: np.ndarray) -> dict[str, tuple[np.ndarray, dict[str, Any]]]:
    return {
        f"{name}_tx": (
            values,
            {"standard_name": name, "units": f"degrees_{towards}", "valid_max": limit, "valid_min": -limit},
        )
        for name, values, towards, limit in (
            ("latitude", latitude, "north", 90.0),
            ("longitude", longitude, "east", 180.0),
        )
    }


def _tie_file(frame: Frame, name: str, planes: dict[str, tuple[np.ndarray, dict[str, Any]]]) -> File:
    variables = [filled(key, GRID, values, long_name=key, **what) for key, (values, what) in planes.items()]
    return File(f"{name}.nc", f"{name} at tie points", attributes(frame, name.split("_")[1]), variables)


def times(frame: Frame, grid: str) -> File:
    """Return when and by which scans each row of grid an or in was measured; the oblique view is measured later."""
    letter, size = grid[0], 1 if grid == "an" else 2
    scan = geometry.scans(frame, size)[2].astype(np.int64)
    spans = {"Nadir": (scan.min(axis=1), scan.max(axis=1))}
    middle = scan[:, 0] - np.rint(geometry.BEND * geometry.centres(frame, size)[1][0] ** 2).astype(np.int64)
    spans["Oblique"] = (middle + OBLIQUE[0], middle + OBLIQUE[1])
    variables = [_one(f"{view}_FIRST_PIXEL_{letter}", np.int32(first)) for view, first in FIRST_SAMPLES.items()]
    for view, (first, last) in spans.items():
        for end, which, number in (("First", "Minimal", first), ("Last", "Maximal", last)):
            variables.append(_scan_number(f"{view}_{end}_scan_{letter}", number))
            moment = _microseconds(frame.start) + (number - frame.first_scan) * SCAN
            variables.append(_moment(f"{view}_{which}_ts_{letter}", moment))
    step = SAMPLE_TIME / np.float32(2 // size)
    variables += [_one(f"PIXSYNC_{letter}", step, units="us"), _one("SCANSYNC", np.int32(SCAN), units="us")]
    variables.append(_moment(f"time_stamp_{letter}", _microseconds(frame.times(frame.rows // size))))
    return File(f"time_{grid}.nc", f"times of grid {grid}", attributes(frame, grid), variables)


def _microseconds(time: Any) -> Any:
    return ((time - EPOCH) / np.timedelta64(1, "us")).astype(np.int64)


def _one(name: str, value: Any, **attrs: Any) -> Variable:
    return filled(name, ("one",), np.array([value]), long_name=name, **attrs)


def _scan_number(name: str, values: np.ndarray) -> Variable:
    limits = {"valid_max": np.uint16(19353), "valid_min": np.uint16(0)}
    return filled(name, ("rows",), values.astype(np.uint16), long_name=name, **limits)


def _moment(name: str, values: np.ndarray) -> Variable:
    what = {"standard_name": "time", "units": "microseconds since 2000-01-01T00:00:00Z"}
    return filled(name, ("rows",), values, long_name=name, **what)


def viscal(frame: Frame) -> File:
    """Return the irradiances that readers calibrate reflectance with, the same for all detectors and both views."""
    variables = []
    for index, energy in enumerate(irradiance(frame)):
        dims = ("visible_detectors" if index < 3 else "swir_detectors", "views")
        values = np.full((4 if index < 3 else 8, 2), energy, np.float32)
        what = {"long_name": f"solar irradiances of S{index + 1}", "units": "mW m-2 nm-1"}
        variables.append(filled(f"S{index + 1}_solar_irradiances", dims, values, **what))
    for name, time in (("ANX_time", frame.orbit.ascent), ("calibration_time", frame.start)):
        stamp = np.array([utc(time)], object)
        variables.append(Variable(name, ("one",), stamp, {"long_name": name, "standard_name": "time"}))
    return File("viscal.nc", "calibration of S1 to S6", origin(frame), variables)
