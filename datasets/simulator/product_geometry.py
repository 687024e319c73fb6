"""Where the pixels of a simulated product lie, and the angles at its tie points.

Simplified against a real product: the earth is a sphere; pixels lie on an exact grid along a great circle, with a
bearing of 180 degrees + tables.IMAGE_UP at the frame's centre; the sun's angles are the same everywhere and the view's
depend on the distance from the track alone, because the scene is rendered so; azimuths do not follow the convergence of
the meridians; all ground is at sea level. As in the real product, a pixel of the 500 m grid lies at its number, of rows
from the start offset and of columns from the track; a pixel of 1 km measures the middle of its four, a quarter of a
pixel beyond its number, and says so in its coordinates.
"""

from __future__ import annotations

import numpy as np

from datasets.simulator import tables
from datasets.simulator.geometry import PIXEL, view_zenith
from datasets.simulator.product_frame import Frame

TIE_COLUMNS, TIE_TRACK, TIE_STEP = 130, 64, 16.0  # columns, the one at the track, km between them
TIE_VIEWED = 752.0  # km east of the track, beyond which a real product gives no view angles
BEND = 2.75e-4  # scans per km^2 from the track, fitted to a real granule
SAMPLES = (754.0, 0.99, -2.236e-7)  # number of a 1 km pixel: at the track, per km, per km^3, fitted to a real granule
ASTRONOMICAL_UNIT, ECCENTRICITY, PERIHELION = 1.495978707e11, 0.01671, 4.0  # m, 1, day of the year


def sun_distance(day: float) -> float:
    """Return the distance of the sun in astronomical units on a day of the year."""
    return float(1 - ECCENTRICITY * np.cos(2 * np.pi * (day - PERIHELION) / 365.256))


def centres(frame: Frame, size: int, offset: tuple[int, int] = (0, 0)) -> tuple[np.ndarray, np.ndarray]:
    """Return the centres of a grid's pixels in km: (y,) from the frame's first edge, (x,) east of the track.

    Args:
        frame: which frame.
        size: 500 m pixels along a side of a pixel.
        offset: by which the grid is displaced, rows and columns of the rendered grid.
    """
    step = size * 2 * PIXEL
    along = (np.arange(frame.rows // size) + 0.5) * step + offset[0] * PIXEL
    across = (np.arange(frame.columns // size) + 0.5) * step - (2 * frame.track + 1 - offset[1]) * PIXEL
    return along, across


def ties(frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Return the tie points in km: (y,) from the frame's first edge, on every other row of 500 m; (x,) east."""
    return centres(frame, 1)[0][::2], (np.arange(TIE_COLUMNS) - TIE_TRACK) * TIE_STEP


def northing(frame: Frame, along: np.ndarray) -> np.ndarray:
    """Return y of a product's cartesian coordinates in m: from the ascending node, where row 0 is centred."""
    return np.asarray(1000 * (along - PIXEL + frame.start_offset))


def places(frame: Frame, along: np.ndarray, across: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return latitude and longitude in degrees; arguments in km as of `centres`, broadcast."""
    lat, lon = np.radians(frame.latitude), np.radians(frame.longitude)
    centre = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    north = np.array([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)])
    east = np.array([-np.sin(lon), np.cos(lon), 0.0])
    bearing = np.radians(90 + tables.IMAGE_UP)
    sideways, onwards = np.cos(bearing) * north + np.sin(bearing) * east, -np.sin(bearing) * north
    onwards = onwards + np.cos(bearing) * east
    aside = (frame.columns - 1 - 2 * frame.track) * PIXEL / tables.EARTH_RADIUS
    track, normal = (
        np.cos(aside) * centre - np.sin(aside) * sideways,
        np.sin(aside) * centre + np.cos(aside) * sideways,
    )
    s = (np.asarray(along) - frame.rows * PIXEL) / tables.EARTH_RADIUS
    t = np.asarray(across) / tables.EARTH_RADIUS
    x, y, z = (
        np.cos(t) * (np.cos(s) * track[axis] + np.sin(s) * onwards[axis]) + np.sin(t) * normal[axis]
        for axis in range(3)
    )
    return np.degrees(np.arcsin(np.clip(z, -1, 1))), np.degrees(np.arctan2(y, x))


def angles(frame: Frame) -> dict[str, np.ndarray]:
    """Return what geometry_tn holds, (rows, TIE_COLUMNS) float64: degrees clockwise from north, and paths in m."""
    along, across = ties(frame)
    unseen = across > TIE_VIEWED
    lines = {
        "sat_azimuth": np.where(unseen, np.nan, (np.where(across > 0, 270, 90) + tables.IMAGE_UP) % 360),
        "sat_path": np.zeros(TIE_COLUMNS),
        "sat_zenith": np.where(unseen, np.nan, np.degrees(view_zenith(across))),
        "solar_azimuth": np.full(TIE_COLUMNS, (frame.grid.sun_azimuth + tables.IMAGE_UP) % 360),
        "solar_path": np.full(TIE_COLUMNS, sun_distance(frame.day) * ASTRONOMICAL_UNIT),
        "solar_zenith": np.full(TIE_COLUMNS, frame.grid.sun_zenith),
    }
    return {name: np.broadcast_to(line, (len(along), TIE_COLUMNS)).astype(float) for name, line in lines.items()}


def scans(frame: Frame, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return detector, number of the sample along the scan, and number of the scan of a grid's pixels, (y, x).

    A scan measures four rows of 500 m pixels, or two of 1 km, with a detector each, and bends away from the track.
    """
    along, across = centres(frame, size)
    rows, shape, detectors = np.arange(len(along))[:, None], (len(along), len(across)), 4 // size
    start, slope, cubic = SAMPLES
    sample = np.rint((start + slope * across + cubic * across**3) * (2 // size))
    scan = frame.first_scan + rows // detectors + np.rint(BEND * across**2)
    return tuple(
        np.broadcast_to(values, shape).astype(dtype)
        for values, dtype in ((rows % detectors, np.uint8), (np.maximum(sample, 0), np.uint16), (scan, np.uint16))
    )  # type: ignore[return-value]
