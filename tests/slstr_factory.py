"""Small SLSTR level-1B products, true in structure: names, grids, types, scales, fills and flags as in real ones.

The track runs south across the date line, and the nadir line lies inside the image.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from netCDF4 import Dataset

NAME = "S3A_SL_1_RBT____20210827T074336_20210827T074636_20210827T094954_0179_075_320_3060_LN2_O_NT_004.SEN3"
BLANK_FRAME = NAME.replace("_3060_", "______").replace("_NT_", "_NR_")
REFLECTIVE = ("S1", "S2", "S3", "S4", "S5", "S6")
THERMAL = {"S7": "i", "S8": "i", "S9": "i", "F1": "f", "F2": "i"}
SCALES = dict(zip(REFLECTIVE, (0.01785, 0.0148, 0.009, 0.00356, 0.002258, 0.000742), strict=True))
IRRADIANCE = dict(zip(REFLECTIVE, (1837.39, 1525.94, 956.17, 365.90, 248.33, 78.33), strict=True))
FILL, KELVIN_SCALE, KELVIN_OFFSET = -32768, 0.01, 283.73
EXCEPTIONS = (
    "ISP_absent pixel_absent not_decompressed no_signal saturation invalid_radiance no_parameters unfilled_pixel"
)
FLAGS = {
    "cloud": "visible 1.37_threshold 1.6_small_histogram 1.6_large_histogram 2.25_small_histogram "
    "2.25_large_histogram 11_spatial_coherence gross_cloud thin_cirrus medium_high fog_low_stratus "
    "11_12_view_difference 3.7_11_view_difference thermal_histogram spare spare",
    "confidence": "coastline ocean tidal land inland_water unfilled spare spare cosmetic duplicate day twilight "
    "sun_glint snow summary_cloud summary_pointing",
    "bayes": "single_low single_moderate dual_low dual_moderate spare spare spare spare",
    "pointing": "FlipMirrorAbsoluteError FlipMirrorIntegratedError FlipMirrorRMSError ScanMirrorAbsoluteError "
    "ScanMirrorIntegratedError ScanMirrorRMSError ScanTimeError Platform_Mode",
}
TRACK = {"n": 40, "o": 30}  # column of the 1 km grids that the track runs along
START, TIE_TRACK = 20437, 4
OCEAN, LAND, DAY = 2, 8, 1024
SUMMARY, GROSS = 16384, 128


@dataclass(frozen=True)
class Make:
    """What a product is made of; constant scenes unless `texture` (share of the signal, random) says otherwise.

    Rows and columns are those of the 1 km grid. `displaced` shifts the measured places of 1 km pixels, in m; `below` is
    the x of the nadir line, in m; `filled` gives flags a fill value, as some products have it; `heights` are the grids
    whose geodetic files hold elevation.
    """

    rows: int = 24
    columns: int = 64
    bands: tuple = (*REFLECTIVE, *THERMAL)
    views: str = "n"
    reflectance: float = 0.3
    kelvin: float = 280.0
    sun: float = 40.0
    cartesian: bool = True
    geodetic: bool = True
    displaced: tuple = (0.0, 0.0)
    below: float = 0.0
    filled: bool = False
    texture: float = 0.0
    heights: tuple = ()
    name: str = NAME

    def write(self, folder: Path) -> Path:
        """Write the product and return its folder."""
        product = folder / self.name
        product.mkdir(parents=True)
        for view in self.views:
            for band in self.bands:
                self._band(product, band, view)
            for stripe in "aif":
                self._grid(product, stripe + view)
            self._geometry(product, view)
        self._ties(product)
        with Dataset(product / "viscal.nc", "w") as nc:
            nc.createDimension("views", 2)
            for band in REFLECTIVE:
                values = irradiance(band)
                nc.createDimension(f"{band}_detectors", len(values))
                put(nc, f"{band}_solar_irradiances", values.astype("f4"), (f"{band}_detectors", "views"))
        write_manifest(product)
        return product

    def size(self, stripe: str) -> tuple:
        return (2 * self.rows, 2 * self.columns) if stripe == "a" else (self.rows, self.columns)

    def open(self, path: Path, grid: str) -> Dataset:
        """Create a file of a grid with its global attributes."""
        nc = Dataset(path, "w")
        steps = {"a": (500, 500), "t": (16000, 1000)}.get(grid[0], (1000, 1000))
        fine = 2 if grid[0] == "a" else 1
        size = (self.rows, 2 * TIE_TRACK + 1 + self.columns // 16) if grid[0] == "t" else self.size(grid[0])
        nc.createDimension("rows", size[0])
        nc.createDimension("columns", size[1])
        nc.setncatts(
            {
                "absolute_orbit_number": np.uint32(28783),
                "resolution": f"[ {steps[0]} {steps[1]} ]",
                "source": "IPF-SL-1 06.18",
                "start_offset": np.int32(START * fine),
                "track_offset": np.int32(TIE_TRACK if grid[0] == "t" else TRACK[grid[1]] * fine),
                "start_time": "2021-08-27T07:43:36.110051Z",
                "stop_time": "2021-08-27T07:46:35.802102Z",
            }
        )
        return nc

    def _band(self, product: Path, band: str, view: str) -> None:
        stripe = THERMAL.get(band, "a")
        grid, kind = stripe + view, "BT" if band in THERMAL else "radiance"
        shape = self.size(stripe)
        signal = 1 + self.texture * np.random.default_rng(0).uniform(-1, 1, shape)
        if band in THERMAL:
            scale, offset, values = KELVIN_SCALE, KELVIN_OFFSET, self.kelvin * signal
        else:
            solar = irradiance(band)[detector(shape), "no".index(view)]
            scale, offset = SCALES[band], 0.0
            values = self.reflectance * np.cos(np.deg2rad(self.sun)) * solar / np.pi * signal
        with self.open(product / f"{band}_{kind}_{grid}.nc", grid) as nc:
            put(
                nc,
                f"{band}_{kind}_{grid}",
                np.round((values - offset) / scale).astype("i2"),
                fill=np.int16(FILL),
                scale_factor=scale,
                add_offset=offset,
                units="K" if band in THERMAL else "mW.m-2.sr-1.nm-1",
            )
            put(nc, f"{band}_exception_{grid}", np.zeros(shape, "u1"), **legend(EXCEPTIONS, "u1"))

    def _grid(self, product: Path, grid: str) -> None:
        shape = self.size(grid[0])
        with self.open(product / f"indices_{grid}.nc", grid) as nc:
            put(nc, f"detector_{grid}", detector(shape).astype("u1"), fill=np.uint8(255))
        with self.open(product / f"flags_{grid}.nc", grid) as nc:
            for name, meanings in FLAGS.items():
                kind = "u2" if name in ("cloud", "confidence") else "u1"
                value = LAND | DAY if name == "confidence" else 0
                fill = np.iinfo(kind).max if self.filled else None
                put(nc, f"{name}_{grid}", np.full(shape, value, kind), fill=fill, **legend(meanings, kind))
            if grid[0] == "i":
                for name in ("single", "dual"):
                    values = np.full(shape, FILL if name == "dual" else -40, "i2")
                    scales = {"scale_factor": 0.005, "add_offset": 0.5}
                    put(nc, f"probability_cloud_{name}_{grid}", values, fill=np.int16(FILL), **scales)
        x, y = self.places(grid)
        if self.cartesian:
            with self.open(product / f"cartesian_{grid}.nc", grid) as nc:
                put(nc, f"x_{grid}", x)
                put(nc, f"y_{grid}", y)
        if self.geodetic:
            with self.open(product / f"geodetic_{grid}.nc", grid) as nc:
                for name, values in zip(("latitude", "longitude"), lat_lon(x, y), strict=True):
                    put(nc, f"{name}_{grid}", np.round(values * 1e6).astype("i4"), scale_factor=1e-6)
                if grid in self.heights:
                    put(nc, f"elevation_{grid}", elevation(x, y), fill=np.int16(FILL))

    def places(self, grid: str) -> tuple:
        """Return x (across, to the left) and y (along the track) of pixel centres in m."""
        rows, columns = self.size(grid[0])
        step, fine = (500.0, 2) if grid[0] == "a" else (1000.0, 1)
        x = (TRACK[grid[1]] * fine - np.arange(columns)) * step
        y = (START * fine + np.arange(rows)) * step
        shift = (0.0, 0.0) if fine == 2 else self.displaced
        return tuple(np.meshgrid(x + shift[0], y + shift[1]))

    def _tie_places(self) -> tuple:
        columns = 2 * TIE_TRACK + 1 + self.columns // 16
        return tuple(np.meshgrid((TIE_TRACK - np.arange(columns)) * 16000.0, (START + np.arange(self.rows)) * 1e3))

    def _ties(self, product: Path) -> None:
        x, y = self._tie_places()
        with self.open(product / "cartesian_tx.nc", "tx") as nc:
            put(nc, "x_tx", x)
            put(nc, "y_tx", y)
        with self.open(product / "geodetic_tx.nc", "tx") as nc:
            for name, values in zip(("latitude", "longitude"), lat_lon(x, y), strict=True):
                put(nc, f"{name}_tx", values)
            if "tx" in self.heights:
                put(nc, "elevation_tx", elevation(x, y), fill=np.int16(FILL))

    def _geometry(self, product: Path, view: str) -> None:
        x, _ = self._tie_places()
        zenith = {
            "sat": np.abs(x - self.below) / 20e3 if view == "n" else np.full(x.shape, 55.0),
            "solar": x * 0 + self.sun,
        }
        # The sun's azimuth passes through north inside the image.
        azimuth = {
            "sat": np.where(x > self.below, 280.0, 100.0) if view == "n" else x * 0 + 190,
            "solar": (x / 8e3) % 360,
        }
        with self.open(product / f"geometry_t{view}.nc", "t" + view) as nc:
            for kind in zenith:
                put(nc, f"{kind}_zenith_t{view}", zenith[kind])
                put(nc, f"{kind}_azimuth_t{view}", azimuth[kind])


def real_product() -> Path:
    """Return a real product from the folder in NEPHOSCOPE_SLSTR; skips the test where it is not set."""
    folder = os.environ.get("NEPHOSCOPE_SLSTR")
    if not folder:
        pytest.skip("NEPHOSCOPE_SLSTR does not name a folder with a real product")
    return next(Path(folder).glob("S3?_SL_1_RBT*.SEN3"))


def irradiance(band: str) -> np.ndarray:
    """Return E0 (detectors, views); detectors differ by 1 %, the oblique view by 2 %."""
    detectors = 1 + 0.01 * np.arange(4 if band in REFLECTIVE[:3] else 8)
    return IRRADIANCE[band] * detectors[:, None] * np.array([1.0, 1.02])


def detector(shape: tuple) -> np.ndarray:
    return np.broadcast_to(np.arange(shape[0])[:, None] % 4, shape)


def lat_lon(x: np.ndarray, y: np.ndarray) -> tuple:
    """Return places near 10 degrees south, across the date line."""
    lat = -10 - (y - START * 1e3) / 111.2e3
    return lat, (180.1 - x / (111.2e3 * np.cos(np.deg2rad(lat))) + 180) % 360 - 180


def elevation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return whole metres that rise by 10 m a km along the track and fall by 20 m a km to the left."""
    return np.round(1200 + (y - START * 1e3) / 100 - x / 50).astype("i2")


def legend(meanings: str, kind: str) -> dict:
    masks = 2 ** np.arange(len(meanings.split()))
    return {"flag_masks": masks.astype(kind), "flag_meanings": meanings}


def put(nc: Dataset, name: str, values: np.ndarray, dims: tuple = ("rows", "columns"), fill=None, **attributes) -> None:
    """Write stored numbers as they are, with their attributes."""
    variable = nc.createVariable(name, values.dtype, dims, zlib=True, complevel=1, fill_value=fill)
    variable.set_auto_maskandscale(False)
    variable[:] = values
    variable.setncatts(attributes)


def change(product: Path, file: str, name: str, where: tuple, value: int) -> None:
    """Change stored numbers of a variable; False values of the manifest are left as they are."""
    with Dataset(product / file, "r+") as nc:
        nc[name].set_auto_maskandscale(False)
        nc[name][where] = value


def write_manifest(product: Path) -> None:
    streams = []
    for path in sorted(product.glob("*.nc")):
        data = path.read_bytes()
        streams.append(
            f'<dataObject ID="{path.stem}"><byteStream mimeType="application/x-netcdf" size="{len(data)}">'
            f'<fileLocation locatorType="URL" href="./{path.name}"/>'
            f'<checksum checksumName="MD5">{hashlib.md5(data).hexdigest()}</checksum></byteStream></dataObject>'
        )
    (product / "xfdumanifest.xml").write_text(
        '<?xml version="1.0" encoding="UTF-8"?><xfdu:XFDU xmlns:xfdu="urn:ccsds:schema:xfdu:1"><dataObjectSection>'
        + "".join(streams)
        + "</dataObjectSection></xfdu:XFDU>"
    )


def of_day(folder, day, **parts):
    """Write a product of its own orbit and day: cloud on the left by the summary, above by gross_cloud."""
    product = Make(texture=0.1 * (day - 24), name=NAME.replace("20210827", f"202108{day}"), **parts).write(folder)
    for path in product.glob("*_??.nc"):
        with Dataset(path, "r+") as nc:
            nc.absolute_orbit_number = np.uint32(28000 + day)
            nc.start_time, nc.stop_time = (f"2021-08-{day}T07:4{minute}:00.500000Z" for minute in (3, 6))
    for grid, fine in (("an", 2), ("in", 1)):
        left, upper = (slice(None), slice(0, 32 * fine)), (slice(0, 12 * fine), slice(None))
        change(product, f"flags_{grid}.nc", f"confidence_{grid}", left, LAND | DAY | SUMMARY)
        change(product, f"flags_{grid}.nc", f"cloud_{grid}", upper, GROSS)
    return product
