"""Cloud tests and confidence flags of simulated products: stand-ins, not EUMETSAT's algorithms.

Each test compares what was measured, never the truth, with a cut-off of the size that is usual in the literature
(Saunders & Kriebel 1988 for the thermal tests and the coherence over sea, the MODIS cloud mask for 1.375 um, an NDSI of
0.4 for snow); all numbers are from memory. Tests that need night or two views (medium_high, the view differences) and
thermal_histogram are never set; as in a real granule over land, the spatial tests are made over water only. The cloud
probability is a logistic function of the same excesses over the cut-offs, with weights of this project. It is given on
land too, which real products do from a later baseline on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.simulator import glint, tables
from datasets.simulator.geometry import BORDER
from datasets.simulator.product_frame import Frame
from datasets.simulator.product_render import Measured

CLOUD = (
    "visible 1.37_threshold 1.6_small_histogram 1.6_large_histogram 2.25_small_histogram 2.25_large_histogram "
    "11_spatial_coherence gross_cloud thin_cirrus medium_high fog_low_stratus 11_12_view_difference "
    "3.7_11_view_difference thermal_histogram spare spare"
)
CONFIDENCE = (
    "coastline ocean tidal land inland_water unfilled spare spare cosmetic duplicate day twilight sun_glint snow "
    "summary_cloud summary_pointing"
)
BAYES = "single_low single_moderate dual_low dual_moderate spare spare spare spare"
POINTING = (
    "FlipMirrorAbsoluteError FlipMirrorIntegratedError FlipMirrorRMSError ScanMirrorAbsoluteError "
    "ScanMirrorIntegratedError ScanMirrorRMSError ScanTimeError Platform_Mode"
)
EXCEPTION = (
    "ISP_absent pixel_absent not_decompressed no_signal saturation invalid_radiance no_parameters unfilled_pixel"
)

VISIBLE_SEA, VISIBLE_LAND = 0.15, 0.30  # S3 over water, S2 over land
CIRRUS = 0.02  # S4
BRIGHTER = {"S5": 0.03, "S6": 0.03}  # than the darkest pixel of a small and of a large window over water
SMALL, LARGE = 3, 11  # pixels along a side of the windows
COHERENCE = 0.3  # K, standard deviation of S8 over water in the small window
GROSS_SEA, GROSS_LAND = 268.0, 260.0  # K in S9
THIN_CIRRUS = 2.5  # K, S8 - S9 at nadir; grows with the slant path
FOG_REFLECTED, FOG_WARMEST = 12.0, 268.0  # K, S7 - S8 of droplets in sunlight, and S8 below which it is no low cloud
SNOW_INDEX, SNOW_DARKEST = 0.4, 0.11  # NDSI of S1 and S5, and S3
GLINT_WIND, GLINT = 7.0, 0.02  # m/s, and reflectance in S3 from which geometry says glint
WIDTHS = {"visible": 0.06, "cirrus": 0.01, "cold": 6.0, "split": 0.8}  # of the logistic, per unit of an excess
SHIFT, LIMITS = 0.5, (-2.0, 4.0)  # of its argument, and of each excess
BAYES_CLOUD = 0.1  # probability from which single_moderate is set, as in a real granule


@dataclass(frozen=True)
class Scene:
    """What the tests see on one grid: measured bands by name, maps (y, x) bool, 1 / cos(view zenith) (x,)."""

    bands: dict[str, np.ndarray]
    ground: np.ndarray
    water: np.ndarray
    glint: np.ndarray
    slant: np.ndarray


def scenes(frame: Frame, measured: Measured) -> tuple[Scene, Scene]:
    """Return what the tests see at 500 m and at 1 km."""
    sun = np.float32(1 / frame.grid.sun)
    fine = {name: values.ravel()[measured.fine.source] * sun for name, values in measured.signal.items()}
    heat = {name: measured.temperature[name].ravel()[measured.coarse.source] for name in ("S7", "S8", "S9")}
    surface = measured.strata["surface"]
    water, slant = np.isin(surface, tables.WATER_CLASSES), (1 / frame.grid.view)[BORDER:-BORDER]
    shiny = _glint(frame) & water & ~measured.ground & (surface != tables.SEA_ICE)
    coarse = {name: (v[::2, ::2] + v[1::2, ::2] + v[::2, 1::2] + v[1::2, 1::2]) / 4 for name, v in fine.items()}
    fine |= {name: values.repeat(2, 0).repeat(2, 1) for name, values in heat.items()}
    ground, few = measured.ground, (slice(None, None, 2),) * 2
    return (
        Scene(fine, ground, water, shiny, slant[::2]),
        Scene(coarse | heat, ground[few], water[few], shiny[few], slant[::4]),
    )


def _glint(frame: Frame) -> np.ndarray:
    """Return in which 500 m columns (x,) the sea would glint in a usual wind."""
    grid = frame.grid
    slopes = glint.slopes(grid.view, grid.sun, grid.azimuth, GLINT_WIND)
    incidence, _ = glint.facet(grid.view, grid.sun, grid.azimuth)
    return np.asarray(slopes * glint.fresnel(tables.REFRACTIVE_INDEX[2], incidence) > GLINT)[BORDER:-BORDER:2]


def _excess(scene: Scene) -> dict[str, np.ndarray]:
    """Return by how much a pixel exceeds the cut-offs that both the tests and the probability use."""
    sea = scene.water
    visible = np.where(sea, scene.bands["S3"] - VISIBLE_SEA, scene.bands["S2"] - VISIBLE_LAND)
    return {
        "visible": np.where(scene.glint | snow(scene), -np.inf, visible),
        "cirrus": scene.bands["S4"] - CIRRUS,
        "cold": np.where(sea, GROSS_SEA, GROSS_LAND) - scene.bands["S9"],
        "split": scene.bands["S8"] - scene.bands["S9"] - THIN_CIRRUS * scene.slant,
    }


def snow(scene: Scene) -> np.ndarray:
    """Return where a snow index, which ice clouds can share, says snow."""
    green, dark = scene.bands["S1"], scene.bands["S5"]
    return np.asarray((green - dark > SNOW_INDEX * (green + dark)) & (scene.bands["S3"] > SNOW_DARKEST) & ~scene.glint)


def cloud(scene: Scene) -> np.ndarray:
    """Return the cloud tests as bits, (y, x) uint16."""
    excess, bands = _excess(scene), scene.bands
    quiet = scene.water & ~scene.glint & ~scene.ground
    tests = {
        "visible": excess["visible"] > 0,
        "1.37_threshold": excess["cirrus"] > 0,
        "11_spatial_coherence": quiet & (_spread(bands["S8"], SMALL) > COHERENCE),
        "gross_cloud": excess["cold"] > 0,
        "thin_cirrus": excess["split"] > 0,
        "fog_low_stratus": quiet & (bands["S7"] - bands["S8"] > FOG_REFLECTED) & (bands["S8"] > FOG_WARMEST),
    }
    for channel, band in (("1.6", "S5"), ("2.25", "S6")):
        for window, side in (("small", SMALL), ("large", LARGE)):
            tests[f"{channel}_{window}_histogram"] = quiet & (_above_darkest(bands[band], side) > BRIGHTER[band])
    return bits(CLOUD, tests)


def _spread(values: np.ndarray, side: int) -> np.ndarray:
    """Return the standard deviation in a square window, (y, x) float32."""
    from scipy.ndimage import uniform_filter

    values = values - values.mean()
    return np.sqrt(np.maximum(uniform_filter(values**2, side) - uniform_filter(values, side) ** 2, 0))


def _above_darkest(values: np.ndarray, side: int) -> np.ndarray:
    """Return how much brighter a pixel is than the darkest one in a square window, (y, x)."""
    from scipy.ndimage import minimum_filter

    return np.asarray(values - minimum_filter(values, side))


def bits(meanings: str, flags: dict[str, np.ndarray]) -> np.ndarray:
    """Return named flags (y, x) as bits in the order of `meanings`, uint16."""
    names = meanings.split()
    total = np.zeros(next(iter(flags.values())).shape, np.uint16)
    for name, flag in flags.items():
        total |= flag.astype(np.uint16) << np.uint16(names.index(name))
    return total


def confidence(scene: Scene, tests: np.ndarray, cosmetic: np.ndarray, duplicate: np.ndarray) -> np.ndarray:
    """Return the confidence flags of a grid as bits, (y, x) uint16, but for `unfilled`; `tests` as of `cloud`."""
    flags = {
        "coastline": _coast(scene.ground),
        "ocean": ~scene.ground,
        "land": scene.ground,
        "inland_water": scene.ground & scene.water,
        "cosmetic": cosmetic,
        "duplicate": duplicate,
        "day": np.ones_like(scene.ground),
        "sun_glint": scene.glint,
        "snow": snow(scene),
        "summary_cloud": tests > 0,
    }
    return bits(CONFIDENCE, flags)


def _coast(ground: np.ndarray) -> np.ndarray:
    """Return which pixels have a neighbour on the other side of the coast."""
    coast = np.zeros_like(ground)
    for axis in (0, 1):
        step = np.diff(ground, axis=axis)
        for part in (slice(1, None), slice(None, -1)):
            coast[(part, slice(None)) if axis == 0 else (slice(None), part)] |= step
    return coast


def probability(scene: Scene) -> np.ndarray:
    """Return a probability of cloud from the same measurements, (y, x) float32 in 0..1."""
    excess = _excess(scene)
    total = sum(np.clip(excess[name] / width, *LIMITS) for name, width in WIDTHS.items())
    return np.asarray(1 / (1 + np.exp(-(total + SHIFT))), np.float32)
