"""When and where a simulated frame is taken: its window of the swath, its place on earth, times, orbit and name.

Frames are windows of the nadir swath's full 500 m grid; all numbers of that grid and of the orbit below were read in
the manifest and files of a real granule (Sentinel-3A, 2021-08-27, absolute orbit 28783).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.api import UserError
from datasets.simulator import scene, tables
from datasets.simulator.geometry import BORDER, PIXEL, Grid
from datasets.simulator.instrument import FINE
from datasets.simulator.regimes import HANDS, Regime

SMALLEST = 64
ROWS, COLUMNS, TRACK = 2400, 3000, 1996  # full size of the 500 m grid, and its column at the sub-satellite track
EDGES = (-961.0, 481.5)  # km east of the track, where measurements end
EDGE_WINDOWS, EDGE_SHARE = 0.3, (0.05, 0.15)  # smaller frames that show an edge, and how much of them lies outside
EDGE_TEETH = (1.0, 4.0)  # km
PERIOD = 27 * 86400 / 385  # s, of an orbit: 385 orbits in a cycle of 27 days
SCAN = 299_985  # microseconds, a scan of two 1 km rows
KNOWN_ORBIT, KNOWN_ASCENT = 28783, np.datetime64("2021-08-27T06:52:35.980881")
ORBITS, ORBITS_BEFORE = 385, 26  # absolute + 26 = 385 (cycle - 1) + relative - 1
FRAME = 180  # s
INCLINATION = 98.65  # degrees, from memory
PROCESSING = np.timedelta64(30, "h")  # between sensing and a product that is not time critical
_STREAM = 3_141_592  # sets products apart from the scenes of patch sets


@dataclass(frozen=True)
class Orbit:
    """Numbers of an orbit; `ascent` is when it crossed the equator northwards, `frame` the number of a frame in it."""

    absolute: int
    relative: int
    cycle: int
    frame: int
    ascent: np.datetime64


@dataclass(frozen=True)
class Frame:
    """One frame.

    Attributes:
        seed: of everything random.
        rows, columns: of the 500 m grid.
        regime: what is simulated.
        track: column of the 500 m grid whose centre is on the sub-satellite track; it may lie outside the frame.
        latitude, longitude: of the frame's centre, degrees.
        day: of the year.
        start: when the first row is crossed, UTC.
        grid: the rendered grid, with its border.
    """

    seed: int
    rows: int
    columns: int
    regime: Regime
    track: int
    latitude: float
    longitude: float
    day: float
    start: np.datetime64
    grid: Grid

    def rng(self, stream: int) -> np.random.Generator:
        """Return one of the frame's independent sources of random numbers."""
        return np.random.default_rng(np.random.SeedSequence([self.seed, _STREAM, stream]))

    @property
    def across(self) -> np.ndarray:
        """Centres of the 500 m columns, km east of the track."""
        return (np.arange(self.columns) - self.track) * FINE * PIXEL

    @property
    def stop(self) -> np.datetime64:
        """When the last row is crossed."""
        return self.times(self.rows // 2)[-1]

    def times(self, rows: int) -> np.ndarray:
        """Return when the sub-satellite point crosses each row of a grid of this many rows, datetime64[us]."""
        scans = np.arange(rows) * self.rows // rows // 4
        return np.asarray(self.start + scans * np.timedelta64(SCAN, "us"))

    @property
    def since_ascent(self) -> float:
        """Seconds from the ascending node to the first row."""
        ratio = np.sin(np.radians(self.latitude)) / np.sin(np.radians(INCLINATION))
        centre = (180 - np.degrees(np.arcsin(np.clip(ratio, -1, 1)))) / 360 * PERIOD
        return float(centre - self.rows / 8 * SCAN * 1e-6)

    @property
    def orbit(self) -> Orbit:
        """The orbit, counted from a known one."""
        ascent = self.start - np.timedelta64(round(self.since_ascent * 1e6), "us")
        absolute = KNOWN_ORBIT + round((ascent - KNOWN_ASCENT) / np.timedelta64(1, "us") * 1e-6 / PERIOD)
        cycle, relative = divmod(absolute + ORBITS_BEFORE, ORBITS)
        return Orbit(absolute, relative + 1, cycle + 1, int(self.since_ascent // FRAME) * FRAME, ascent)

    @property
    def start_offset(self) -> int:
        """Rows of 1 km from the ascending node to the first row."""
        return round(self.since_ascent * 2e6 / SCAN)

    @property
    def first_scan(self) -> int:
        """Number of the scan that crosses the track in the first row."""
        return round(self.since_ascent * 1e6 / SCAN)

    @property
    def creation(self) -> np.datetime64:
        """When the product says that it was made: a function of the seed, as all else."""
        return (self.stop + PROCESSING).astype("M8[s]")

    @property
    def name(self) -> str:
        """Name of the product's folder."""
        start, stop, creation = (_compact(time) for time in (self.start, self.stop, self.creation))
        seconds, orbit = int((self.stop - self.start) / np.timedelta64(1, "s")), self.orbit
        numbers = f"{seconds:04d}_{orbit.cycle:03d}_{orbit.relative:03d}_{orbit.frame:04d}"
        return f"S3A_SL_1_RBT____{start}_{stop}_{creation}_{numbers}_LN2_O_NT_004.SEN3"


def utc(time: np.datetime64) -> str:
    """Return a time as products write it, to the microsecond."""
    return f"{time.astype('M8[us]')}Z"


def _compact(time: np.datetime64) -> str:
    """Return a time to the nearest second, as names have it."""
    return str((time + np.timedelta64(500, "ms")).astype("M8[s]")).replace("-", "").replace(":", "")


def draw(rows: int, columns: int, seed: int) -> Frame:
    """Draw a frame of `rows` x `columns` 500 m pixels.

    Raises:
        UserError: a size that is odd, too small, or larger than a full frame.
    """
    for name, size, full in (("rows", rows, ROWS), ("columns", columns, COLUMNS)):
        if size % 2 or not SMALLEST <= size <= full:
            raise UserError(f"a simulated product has an even number of {name} from {SMALLEST} to {full}, not {size}")
    rng = np.random.default_rng(np.random.SeedSequence([seed, _STREAM]))
    hand = HANDS[rng.integers(len(HANDS))]
    regime = hand[rng.integers(len(hand))]
    latitude, day, zenith, azimuth = scene.draw_sun(rng, regime)
    track = TRACK - _window(rng, regime, columns)
    shape = (FINE * rows + 2 * BORDER, FINE * columns + 2 * BORDER)
    across = (np.arange(shape[1]) - BORDER - 0.5 - track * FINE) * PIXEL
    grid = Grid(shape, across, zenith, (azimuth - tables.IMAGE_UP) % 360)
    longitude = rng.uniform(-180, 180)
    centre = np.datetime64(f"{rng.integers(2018, 2025)}-01-01", "us") + np.timedelta64(int(day), "D")
    noon = ((tables.LOCAL_TIME - longitude / 15) % 24) * 3.6e9
    start = centre + np.timedelta64(int(noon) - rows // 8 * SCAN, "us")
    return Frame(seed, rows, columns, regime, track, latitude, float(longitude), day, start, grid)


def _window(rng: np.random.Generator, regime: Regime, columns: int) -> int:
    """Return the column of the full grid at which the frame begins: about the regime's place, or at an edge."""
    west, east = (int(TRACK + edge / (FINE * PIXEL)) for edge in EDGES)
    centre, outside = rng.uniform(*regime.across), rng.uniform(*EDGE_SHARE) * columns
    if rng.random() < EDGE_WINDOWS:
        first = west - outside if rng.random() < 0.5 else east + outside - columns
    else:
        wanted = TRACK + centre / (FINE * PIXEL) - columns / 2
        first = max(min(wanted, east - 16 - columns), west + 16)
    return int(np.clip(first, 0, COLUMNS - columns)) // 2 * 2


def inside(frame: Frame) -> np.ndarray:
    """Return which 500 m pixels are measured, (y, x) bool: the swath, its edges saw-toothed by the conical scan."""
    rng, row = frame.rng(1), np.arange(frame.rows)
    period, depth = rng.integers(4, 17), rng.uniform(*EDGE_TEETH)
    teeth = (depth * (row % period) / period)[:, None]
    return np.asarray((frame.across > EDGES[0] + teeth) & (frame.across < EDGES[1] - teeth))
