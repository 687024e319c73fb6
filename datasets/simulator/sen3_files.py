"""The files of a simulated level-1B product, one after the other.

Names, grids, types, scales and attributes are those of a real granule (collection 004, IPF 06.18), read in its files.
That granule was without S1..S6_radiance_an, geodetic_an, cartesian_an and time_an: these follow their 1 km or tie-point
counterparts; radiances are in steps of tables.RADIANCE_SCALE; the steps of geodetic and cartesian coordinates are from
memory. Left out, because nothing of it is simulated: the oblique view, stripe b, meteorology, and the
instrument's telemetry in the quality files and in viscal.nc.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from datasets.simulator import product_flags as flags
from datasets.simulator import product_geometry as geometry
from datasets.simulator import tables
from datasets.simulator.product_frame import Frame
from datasets.simulator.product_render import Cells, Measured
from datasets.simulator.sen3_parts import FILL, File, attributes, filled, flag, irradiance
from datasets.simulator.sen3_ties import ties, times, viscal
from datasets.simulator.sen3_write import Variable, pack

BT_SCALE, BT_OFFSET = 0.01, 283.73
S7_LIMIT = 305.0  # K, from which S7 is flagged invalid_radiance, measured in a real granule
# How coordinates are stored: type, step, attributes.
COORDINATES: dict[str, tuple[type, float, dict[str, str]]] = {
    "latitude": (np.int32, 1e-6, {"standard_name": "latitude", "units": "degrees_north"}),
    "longitude": (np.int32, 1e-6, {"standard_name": "longitude", "units": "degrees_east"}),
    "elevation": (np.int16, 1.0, {"standard_name": "surface_altitude", "units": "m"}),
    "x": (np.int32, 0.1, {"units": "m"}),
    "y": (np.int32, 0.1, {"units": "m"}),
}
WIDTHS = (19.26, 19.25, 20.6, 20.8, 60.68, 50.15, 398, 776, 905)  # nm, S1..S9
TWINS = {"F1": "S7", "F2": "S8"}
GRID = ("rows", "columns")
ORPHANS = ("rows", "orphan_pixels")
SATURATION, ABSENT, INVALID, UNFILLED = 16, 2, 32, 128  # exceptions
CENTRES = {name: centre for name, _, centre, _ in tables.BANDS}


def files(frame: Frame, measured: Measured) -> Iterator[File]:
    """Yield the files; the arrays of one are made when it is asked for."""
    yield from _radiances(frame, measured)
    yield from _temperatures(frame, measured)
    yield from _flags(frame, measured)
    for grid, cells in (("an", measured.fine), ("in", measured.coarse), ("fn", measured.coarse)):
        offset = (0, 0) if grid == "an" else measured.offset
        yield _indices(frame, grid, cells)
        yield from _positions(frame, grid, cells, offset)
    yield from ties(frame)
    yield from (times(frame, grid) for grid in ("an", "in"))
    yield viscal(frame)


def _radiances(frame: Frame, measured: Measured) -> Iterator[File]:
    from satpy.readers.slstr_l1b import CHANCALIB_FACTORS

    for index, (band, signal) in enumerate(measured.signal.items()):
        energy, scale = irradiance(frame)[index], float(tables.RADIANCE_SCALE[index])
        # Readers multiply what is stored with the calibration factor: after it the scene is right.
        radiance = signal * np.float32(energy / np.pi / CHANCALIB_FACTORS[f"{band}_nadir"])
        exception = np.where(radiance > scale * 32767.5, np.uint8(SATURATION), np.uint8(0))
        what = {
            "standard_name": "toa_upwelling_spectral_radiance",
            "units": "mW.m-2.sr-1.nm-1",
            "add_offset": 0.0,
            "scale_factor": scale,
        }
        summary = f"radiance of {band} (500 m, nadir view)"
        counts = pack(radiance, np.int16, scale)
        variables = _measurement(band, "radiance", "an", measured.fine, counts, exception, what)
        yield File(f"{band}_radiance_an.nc", summary, attributes(frame, "an"), variables)
        yield _quality(frame, band, "an", 4 if index < 3 else 8, energy)


def _temperatures(frame: Frame, measured: Measured) -> Iterator[File]:
    what = {
        "standard_name": "toa_brightness_temperature",
        "units": "K",
        "add_offset": BT_OFFSET,
        "scale_factor": BT_SCALE,
    }
    for band, own in measured.temperature.items():
        grid, counts = "fn" if band == "F1" else "in", pack(own, np.int16, BT_SCALE, BT_OFFSET)
        hot = (own >= S7_LIMIT) & (band == "S7")
        exception = np.where(hot, np.uint8(INVALID), np.uint8(0))
        variables = _measurement(band, "BT", grid, measured.coarse, counts, exception, what)
        summary = f"brightness temperature of {band} (1 km, nadir view)"
        yield File(f"{band}_BT_{grid}.nc", summary, attributes(frame, grid), variables)
        yield _quality(frame, band, grid, 2)


def _measurement(
    band: str, kind: str, grid: str, cells: Cells, own: np.ndarray, exception: np.ndarray, what: dict[str, Any]
) -> list[Variable]:
    """Return image and orphans of a band, and their exceptions; `own` and `exception` are of the pixels themselves."""
    image, orphans = cells.image(own, FILL[np.int16]), cells.orphaned(own, FILL[np.int16])
    status = cells.image(exception, UNFILLED) | np.where(cells.cosmetic, np.uint8(ABSENT), np.uint8(0))
    meaning = {"standard_name": f"{what['standard_name']}_status_flag"}
    return [
        filled(f"{band}_{kind}_{grid}", GRID, image, long_name=f"{kind} of {band}", **what),
        filled(f"{band}_{kind}_orphan_{grid}", ORPHANS, orphans, long_name=f"{kind} of {band}, orphans", **what),
        flag(f"{band}_exception_{grid}", GRID, status, flags.EXCEPTION, **meaning),
        flag(
            f"{band}_exception_orphan_{grid}",
            ORPHANS,
            cells.orphaned(exception, UNFILLED),
            flags.EXCEPTION,
            **meaning,
        ),
    ]


def _quality(frame: Frame, band: str, grid: str, detectors: int, energy: float | None = None) -> File:
    """Return the spectral part of a quality file; real ones say m and give um."""
    twin, each = TWINS.get(band, band), np.ones(detectors)
    what = {"standard_name": "radiation_wavelength", "units": "m"}
    centre, width = CENTRES[twin], WIDTHS[int(twin[1]) - 1] / 1000
    variables = [
        filled(f"{band}_band_centre_{grid}", ("detectors",), each * centre, long_name=f"centre of {band}", **what),
        filled(f"{band}_bandwidth_{grid}", ("detectors",), each * width, **what),
    ]
    if energy is not None:
        text = {"long_name": f"solar irradiance in {band}", "units": "mW.m-2.nm-1"}
        variables.append(filled(f"{band}_solar_irradiance_{grid}", ("detectors",), each * energy, **text))
    return File(f"{band}_quality_{grid}.nc", f"quality of {band} (nadir view)", attributes(frame, grid), variables)


def _flags(frame: Frame, measured: Measured) -> Iterator[File]:
    fine, coarse = flags.scenes(frame, measured)
    for grid, scene, cells in (("an", fine, measured.fine), ("in", coarse, measured.coarse)):
        variables = _flag_variables(grid, scene, cells)
        yield File(f"flags_{grid}.nc", f"flags of grid {grid}", attributes(frame, grid), variables)
    # F1 has the flags of the other 1 km bands, as it has their grid here.
    renamed = [Variable(v.name.removesuffix("in") + "fn", v.dims, v.values, v.attrs) for v in variables]
    kept = [variable for variable in renamed if not variable.name.startswith("probability")]
    yield File("flags_fn.nc", "flags of grid fn", attributes(frame, "fn"), kept)


def _flag_variables(grid: str, scene: flags.Scene, cells: Cells) -> list[Variable]:
    tests = flags.cloud(scene)
    trust = flags.confidence(scene, tests, cells.cosmetic, cells.duplicate)
    outside, cosmetic, duplicate = (
        np.uint16(1 << flags.CONFIDENCE.split().index(name)) for name in ("unfilled", "cosmetic", "duplicate")
    )
    orphan = np.where(cells.orphans >= 0, trust.ravel()[cells.orphans] & ~cosmetic | duplicate, outside)
    zero, none = np.zeros(trust.shape, np.uint8), np.full(trust.shape, np.uint8(255))
    likely = np.where(cells.inside, flags.probability(scene), np.nan)
    bayes = np.where((likely > flags.BAYES_CLOUD) & (grid != "an"), np.uint8(2), np.uint8(0))
    variables = [
        flag(f"bayes_{grid}", GRID, bayes, flags.BAYES),
        flag(f"bayes_orphan_{grid}", GRID, none, flags.BAYES),
        flag(f"cloud_{grid}", GRID, np.where(cells.inside, tests, np.uint16(0)), flags.CLOUD),
        flag(f"cloud_orphan_{grid}", ORPHANS, cells.orphaned(tests, 0), flags.CLOUD),
        flag(f"confidence_{grid}", GRID, _outside(trust, cells.inside, outside), flags.CONFIDENCE),
        flag(f"confidence_orphan_{grid}", ORPHANS, orphan, flags.CONFIDENCE),
        flag(f"pointing_{grid}", GRID, zero, flags.POINTING),
        flag(f"pointing_orphan_{grid}", ORPHANS, np.zeros(cells.orphans.shape, np.uint8), flags.POINTING),
    ]
    return variables if grid == "an" else [*variables, *_probabilities(grid, likely)]


def _outside(trust: np.ndarray, inside: np.ndarray, unfilled: np.uint16) -> np.ndarray:
    """Return confidence flags where pixels without measurement keep the map and the day only."""
    named = flags.CONFIDENCE.split()
    kept = np.uint16(sum(1 << named.index(name) for name in ("coastline", "ocean", "land", "inland_water", "day")))
    return np.where(inside, trust, trust & kept | unfilled)


def _probabilities(grid: str, likely: np.ndarray) -> Iterator[Variable]:
    fill = np.int16(FILL[np.int16])
    stored = np.where(np.isnan(likely), fill, pack(np.nan_to_num(likely), np.int16, 0.005, 0.5))
    what = {"add_offset": 0.5, "scale_factor": 0.005, "valid_max": np.int16(19900), "valid_min": np.int16(-20100)}
    for views, values in (("dual", np.full_like(stored, fill)), ("single", stored)):
        name = f"probability_cloud_{views}_{grid}"
        yield filled(name, GRID, values, long_name=f"probability of cloud, {views} view", **what)


def _indices(frame: Frame, grid: str, cells: Cells) -> File:
    numbers = geometry.scans(frame, 1 if grid == "an" else 2)
    variables = [filled(f"l0_scan_offset_{grid}", ("one",), np.zeros(1, np.int32), long_name="offset of scan numbers")]
    for name, own in zip(("detector", "pixel", "scan"), numbers, strict=True):
        fill = FILL[own.dtype.type]
        long_name = {"long_name": f"number of the {name}"}
        variables.append(filled(f"{name}_{grid}", GRID, cells.image(own, fill), **long_name))
        variables.append(filled(f"{name}_orphan_{grid}", ORPHANS, cells.orphaned(own, fill), **long_name))
    return File(f"indices_{grid}.nc", f"scans, pixels and detectors of grid {grid}", attributes(frame, grid), variables)


def _positions(frame: Frame, grid: str, cells: Cells, offset: tuple[int, int]) -> Iterator[File]:
    """Yield geodetic and cartesian coordinates of a grid: of its pixels, not of the measurements copied into them."""
    along, across = geometry.centres(frame, 1 if grid == "an" else 2, offset)
    latitude, longitude = geometry.places(frame, along[:, None], across)
    x, y = np.meshgrid(-1000 * across, geometry.northing(frame, along))
    for kind, planes in (
        ("geodetic", {"latitude": latitude, "longitude": longitude, "elevation": np.zeros_like(latitude)}),
        ("cartesian", {"x": x, "y": y}),
    ):
        variables = [v for name, values in planes.items() for v in _coordinate(grid, cells, name, values)]
        yield File(f"{kind}_{grid}.nc", f"{kind} coordinates of grid {grid}", attributes(frame, grid), variables)


def _coordinate(grid: str, cells: Cells, name: str, values: np.ndarray) -> Iterator[Variable]:
    """Yield a coordinate of the pixels and of the orphans."""
    dtype, scale, what = COORDINATES[name]
    stored = pack(values, dtype, scale)
    attrs = {"long_name": name, **what, "add_offset": 0.0, "scale_factor": scale}
    yield filled(f"{name}_{grid}", GRID, stored, **attrs)
    yield filled(f"{name}_orphan_{grid}", ORPHANS, cells.orphaned(stored, FILL[dtype]), **attrs)
