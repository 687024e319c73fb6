"""Where the pixels of SLSTR grids lie: angles and coordinates from tie points, and 1 km pixels of 500 m pixels.

All grids count rows along the track from `start_offset`, and columns across it, where the track is at `track_offset`,
in steps of `resolution`. Row r of a tie grid is row r of the 1 km grids, and its column t lies at
x = (track_offset - t) * 16 km, as `x_tx` of real products says. A pixel of an image lies at its number too, not half a
step further: in a real granule inland water on the 1 km grid differs least from that of the 500 m pixels at the same
number, and equally more from those on either side. The measurements of the four 500 m pixels whose numbers round down
to one of the 1 km grid are of that 1 km pixel, as copied flags of that granule show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr
from numba import njit

from benchmark.api import UserError
from datasets._slstr_files import ROWS, open_file, variable

PLANES = ("sun_zenith", "view_zenith", "lat", "lon")


@dataclass(frozen=True)
class Lattice:
    """Where a grid lies: offsets in its own steps, and steps in m, along (rows) and across (columns) the track."""

    start: int
    track: int
    along: float
    across: float
    shape: tuple[int, int]

    def rows_in(self, other: Lattice) -> np.ndarray:
        """Return, for every row of this grid, its place in rows of another, where pixels lie at whole numbers."""
        return (self.start + np.arange(self.shape[0])) * self.along / other.along - other.start

    def columns_in(self, other: Lattice) -> np.ndarray:
        """Return, for every column of this grid, its place in columns of another; pixels lie at whole numbers."""
        return (np.arange(self.shape[1]) - self.track) * self.across / other.across + other.track

    def reaches(self, rows: np.ndarray, columns: np.ndarray) -> bool:
        """Whether places in this grid lie in it, or at most one step outside."""
        pairs = zip((rows, columns), self.shape, strict=True)
        return all(places.min() >= -1 and places.max() <= count for places, count in pairs)


def lattice(product: Path, file: str) -> Lattice:
    """Return the lattice of the grid that a file is on.

    Raises:
        UserError: the file lacks the attributes that place it.
    """
    ds = open_file(product, file)
    try:
        across, along = (float(step) for step in str(ds.attrs["resolution"]).strip("[ ]").split())
        start, track = int(ds.attrs["start_offset"]), int(ds.attrs["track_offset"])
    except (KeyError, ValueError) as error:
        raise UserError(f"{file} of {product.name} does not say where its grid lies: {error}") from None
    return Lattice(start, track, along, across, (ds.sizes["y"], ds.sizes["x"]))


def planes(product: Path, grid: str) -> xr.Dataset:
    """Return `sun_zenith`, `view_zenith`, `lat` and `lon` of a grid, (y, x) float32, degrees, lazy.

    Angles are interpolated between the tie points as directions, so that neither azimuths over north nor the view's
    zenith angle at nadir break them; NaN where the product has no tie points. Coordinates are those of the grid's own
    geodetic file; where it is absent they are interpolated in the same way, from `geodetic_tx.nc`. Attribute
    `geolocation` says which.

    Raises:
        UserError: a file or a variable is missing or cannot be read, or the tie points lie elsewhere than the grid.
    """
    found, source = _coordinates(product, grid)
    for name, kind in (("sun_zenith", "solar"), ("view_zenith", "sat")):
        found[name] = _zenith(product, grid, kind)
    ds = xr.Dataset({name: found[name] for name in PLANES}, attrs={"geolocation": source})
    for name in PLANES:
        ds[name].attrs = {"units": {"lat": "degrees_north", "lon": "degrees_east"}.get(name, "degrees")}
    return ds


def highest_sun(product: Path, grid: str) -> float:
    """Return the smallest zenith angle of the sun at the tie points across a grid, degrees.

    Raises:
        UserError: there is none, or the tie points lie elsewhere than the grid.
    """
    file = f"geometry_t{grid[1]}.nc"
    _, columns = _tie_places(product, grid, file)
    inside = slice(max(int(columns.min()), 0), int(np.ceil(columns.max())) + 1)
    angles = _tie(product, file, f"solar_zenith_t{grid[1]}")[:, inside]
    if not np.isfinite(angles).any():
        raise UserError(f"{file} of {product.name} holds no angle of the sun where the image is")
    return float(np.nanmin(angles))


def _coordinates(product: Path, grid: str) -> tuple[dict[str, xr.DataArray], str]:
    file, names = f"geodetic_{grid}.nc", {"lat": "latitude", "lon": "longitude"}
    if (product / file).exists():
        ds = open_file(product, file)
        own = {short: variable(ds, f"{name}_{grid}", product).astype(np.float32) for short, name in names.items()}
        return {name: values.drop_vars(list(values.coords)) for name, values in own.items()}, file
    ties = "geodetic_tx.nc"
    lat, lon = (np.deg2rad(_tie(product, ties, f"{name}_tx")) for name in names.values())
    directions = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)
    both = interpolated(product, grid, ties, directions, _lat_lon)
    return {"lat": both[0], "lon": both[1]}, f"interpolated between the tie points of {ties}"


def _zenith(product: Path, grid: str, kind: str) -> xr.DataArray:
    view, file = grid[1], f"geometry_t{grid[1]}.nc"
    zenith, azimuth = (np.deg2rad(_tie(product, file, f"{kind}_{name}_t{view}")) for name in ("zenith", "azimuth"))
    directions = np.stack([np.sin(zenith) * np.sin(azimuth), np.sin(zenith) * np.cos(azimuth), np.cos(zenith)], axis=-1)
    return interpolated(product, grid, file, directions, _zenith_angle)[0]


def _tie(product: Path, file: str, name: str) -> np.ndarray:
    values = variable(open_file(product, file), name, product).values
    if min(values.shape) < 2:
        raise UserError(f"{file} of {product.name} has too few tie points")
    return values


def _tie_places(product: Path, grid: str, file: str) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of a grid's pixels among the tie points of a file."""
    fine, ties = lattice(product, f"flags_{grid}.nc"), lattice(product, file)
    rows, columns = fine.rows_in(ties), fine.columns_in(ties)
    if not ties.reaches(rows, columns):
        raise UserError(f"the tie points in {file} of {product.name} lie elsewhere than the pixels of flags_{grid}.nc")
    return rows, columns


def interpolated(product: Path, grid: str, file: str, vectors: np.ndarray, planes: Any) -> list[xr.DataArray]:
    """Interpolate vectors (rows, columns, n) of a tie grid; return the planes that a function makes of them."""
    rows, columns = _tie_places(product, grid, file)
    shared = dask.delayed(vectors, traverse=False)
    blocks = [
        da.from_delayed(
            dask.delayed(_interpolate)(shared, rows[first : first + ROWS], columns, planes),
            (len(planes(vectors[0, 0])), min(ROWS, len(rows) - first), len(columns)),
            np.float32,
        )
        for first in range(0, len(rows), ROWS)
    ]
    return [xr.DataArray(values, dims=("y", "x")) for values in da.concatenate(blocks, axis=1)]


def _interpolate(directions: np.ndarray, rows: np.ndarray, columns: np.ndarray, angles: Any) -> np.ndarray:
    """Interpolate linearly at positions in the tie grid; beyond its edges the outermost cell is extended."""
    i = np.clip(np.floor(rows).astype(int), 0, directions.shape[0] - 2)
    j = np.clip(np.floor(columns).astype(int), 0, directions.shape[1] - 2)
    w, v = (rows - i)[:, None, None], (columns - j)[None, :, None]
    lines = directions[i] * (1 - w) + directions[i + 1] * w
    return np.stack(angles(lines[:, j] * (1 - v) + lines[:, j + 1] * v)).astype(np.float32)


def _zenith_angle(vector: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the angle to the vertical, 0 to 180 degrees, of vectors (..., 3) of any length."""
    return (np.rad2deg(np.arctan2(np.hypot(vector[..., 0], vector[..., 1]), vector[..., 2])),)


def _lat_lon(vector: np.ndarray) -> tuple[np.ndarray, ...]:
    x, y, z = np.moveaxis(vector, -1, 0)
    return np.rad2deg(np.arctan2(z, np.hypot(x, y))), np.rad2deg(np.arctan2(y, x))


@dataclass(frozen=True)
class CoarseIndex:
    """Which 1 km pixel belongs to each 500 m pixel.

    Attributes:
        flat: (y, x) int32 Dask array on the 500 m grid: row * columns + column of the pixel on the 1 km grid.
        lines: nominal row on the 1 km grid of each row of the 500 m grid; the pixel's own is at most one away.
        shape: rows and columns of the 1 km grid.
        source: how the pixels were found.
    """

    flat: da.Array
    lines: np.ndarray
    shape: tuple[int, int]
    source: str

    def bring(self, values: xr.DataArray) -> xr.DataArray:
        """Return a variable (y, x) of the 1 km grid on the 500 m grid, lazy; its type and attributes stay."""
        blocks = [
            da.from_delayed(
                dask.delayed(_take)(values.data[low:high], self.flat[first:last], low * self.shape[1]),
                (last - first, self.flat.shape[1]),
                values.dtype,
            )
            for first, last, low, high in _spans(self.lines, self.shape[0])
        ]
        return xr.DataArray(da.concatenate(blocks), dims=("y", "x"), attrs=values.attrs, name=values.name)


def _take(values: np.ndarray, flat: np.ndarray, before: int) -> np.ndarray:
    return values.ravel()[flat - before]


def _spans(lines: np.ndarray, rows: int) -> list[tuple[int, int, int, int]]:
    """Return first and last row of every block, and of the rows of the coarse grid that it may need."""
    starts = range(0, len(lines), ROWS)
    ends = [min(first + ROWS, len(lines)) for first in starts]
    return [
        (first, last, max(int(lines[first]) - 1, 0), min(int(lines[last - 1]) + 2, rows))
        for first, last in zip(starts, ends, strict=True)
    ]


def coarse_index(product: Path, fine: str = "an", coarse: str = "in") -> CoarseIndex:
    """Return for every pixel of a 500 m grid the 1 km pixel whose measured place (x, y) is nearest.

    Pixels are searched for among the nominal one, in which the 500 m pixel nests, and its eight neighbours. The nominal
    pixel is taken where the product has no cartesian files, or a pixel has no place in them.

    Raises:
        UserError: a file cannot be read or does not say where its grid lies, or the grids lie apart.
    """
    small, large = lattice(product, f"flags_{fine}.nc"), lattice(product, f"flags_{coarse}.nc")
    rows, columns = np.floor(small.rows_in(large)), np.floor(small.columns_in(large))
    if not large.reaches(rows, columns):
        raise UserError(f"the pixels of flags_{coarse}.nc in {product.name} do not lie on those of flags_{fine}.nc")
    lines = np.clip(rows, 0, large.shape[0] - 1).astype(np.int32)
    columns = np.clip(columns, 0, large.shape[1] - 1).astype(np.int32)
    files, spans = [f"cartesian_{grid}.nc" for grid in (fine, coarse)], _spans(lines, large.shape[0])
    places: list[tuple[da.Array, ...]]
    if all((product / file).exists() for file in files):
        source = f"nearest 1 km pixel by {' and '.join(files)}"
        x, y = (_places(product, (fine, coarse), axis) for axis in "xy")
        places = [(x[0][a:b], y[0][a:b], x[1][c:d], y[1][c:d]) for a, b, c, d in spans]
    else:
        source = f"the 1 km pixel that a pixel nests in, for want of {' or '.join(files)}"
        places = [() for _ in spans]
    blocks = [
        da.from_delayed(
            dask.delayed(_nearest if place else _nominal)(lines[a:b], columns, c, large.shape[1], *place),
            (b - a, len(columns)),
            np.int32,
        )
        for (a, b, c, _), place in zip(spans, places, strict=True)
    ]
    return CoarseIndex(da.concatenate(blocks), lines, large.shape, source)


def _places(product: Path, grids: Sequence[str], axis: str) -> list[da.Array]:
    found = [(open_file(product, f"cartesian_{grid}.nc"), f"{axis}_{grid}") for grid in grids]
    return [variable(ds, name, product).data.astype(np.float64) for ds, name in found]


def _nominal(lines: np.ndarray, columns: np.ndarray, low: int, width: int) -> np.ndarray:
    return (lines[:, None] * np.int32(width) + columns).astype(np.int32)


@njit(nogil=True)
def _nearest(
    lines: np.ndarray,
    columns: np.ndarray,
    low: int,
    width: int,
    x: np.ndarray,
    y: np.ndarray,
    coarse_x: np.ndarray,
    coarse_y: np.ndarray,
) -> np.ndarray:
    """Return the flat index of the nearest coarse pixel; the coarse places begin with row `low`."""
    found = np.empty(x.shape, np.int32)
    for r in range(x.shape[0]):
        for c in range(x.shape[1]):
            line, column, best = lines[r], columns[c], np.inf
            for i in range(max(lines[r] - 1, low), min(lines[r] + 2, low + coarse_x.shape[0])):
                for j in range(max(columns[c] - 1, 0), min(columns[c] + 2, width)):
                    across, along = coarse_x[i - low, j] - x[r, c], coarse_y[i - low, j] - y[r, c]
                    distance = across * across + along * along
                    if distance < best:  # never where a place is NaN
                        line, column, best = i, j, distance
            found[r, c] = line * width + column
    return found
