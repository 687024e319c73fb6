"""The cloud tests of the threshold rows: one table of cut-offs, and the rule that joins them.

A pixel is cloud if it passes every test of REFLECTIVE or any test of SINGLE, and is not warm. A test that a pixel
lacks the bands for, or that is meant for the other surface, takes no part.

The cut-offs are literature values as recalled, not re-read in the sources named beside them: check before quoting.
`width` is the distance from the cut-off at which the grade reaches 0.73 or 0.27: half the distance between the
confidence limits where the source gives such limits, otherwise a choice of ours. It never changes the mask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from baselines import _indices
from baselines._pixels import LAND, UNKNOWN, WATER, Pixels

Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class CloudTest:
    """One feature against one cut-off.

    Attributes:
        feature: pixels -> (k,) values, or None where the bands are not there.
        cut: cloud beyond it.
        width: scale of the grade, in the feature's unit; negative where cloud lies below the cut-off.
        source: where cut-off and width come from.
        surfaces: land codes of the pixels that it is for.
    """

    feature: Callable[[Pixels], np.ndarray | None]
    cut: float
    width: float
    source: str
    surfaces: tuple[int, ...] = (LAND, WATER, UNKNOWN)


def _role(name: str) -> Callable[[Pixels], np.ndarray | None]:
    return lambda pixels: pixels.column(name)


GROUND = (LAND, UNKNOWN)
SEA = (WATER,)
REFLECTIVE = {
    "bright land": CloudTest(_indices.visible, 0.18, 0.04, "MOD35 (Ackerman et al.), 0.66 um: .14 .18 .22", GROUND),
    "bright water": CloudTest(_role("NIR_NARROW"), 0.045, 0.01, "MOD35, 0.87 um: .030 .045 .065", SEA),
    "not soil": CloudTest(_indices.soil_line, 0.0, 0.02, "Fmask (Zhu and Woodcock 2012): NIR / SWIR > .75"),
    "not plants": CloudTest(_indices.vegetation_index, 0.8, -0.05, "Fmask: NDVI < .8"),
    "hazy": CloudTest(_indices.haze, 0.08, 0.02, "Fmask: blue - .5 red > .08"),
}
# Snow is both: high index and bright in the near infrared (dark water has a high index too).
SNOW = {
    "snow index": CloudTest(_indices.snow_index, 0.4, -0.1, "MOD10 (Hall et al. 1995): NDSI > .4"),
    "snow brightness": CloudTest(_role("NIR_NARROW"), 0.11, -0.03, "MOD10: 0.87 um > .11"),
}
SINGLE = {
    "cirrus": CloudTest(
        _role("CIRRUS"), 0.03, 0.005, "MOD35, 1.38 um: .025 .030 .035 (.030 .035 .040 on some surfaces)"
    ),
    "cold water": CloudTest(_role("BT_11"), 270.0, -3.0, "MOD35, 11 um over ocean: 267 270 273 K", SEA),
    "cold land": CloudTest(_role("BT_11"), 235.0, -5.0, "cold cloud tops (Arkin and Meisner 1987)", GROUND),
    "thin cirrus": CloudTest(_indices.split_window, 3.0, 0.5, "fixed form of Saunders and Kriebel (1988), 11 - 12 um"),
    "droplets land": CloudTest(_indices.reflected_37, 12.0, 2.0, "MOD35, 11 - 3.9 um: -14 -12 -10 K", GROUND),
    "droplets water": CloudTest(_indices.reflected_37, 8.0, 2.0, "MOD35, 11 - 3.9 um over ocean: -8 K", SEA),
}
NOT_WARM = {"not warm": CloudTest(_role("BT_11"), 300.15, -2.0, "Fmask: below 27 degrees Celsius")}
TESTS = REFLECTIVE | SNOW | SINGLE | NOT_WARM
DECISIVE = ("bright land", "bright water", *SINGLE)


def features(pixels: Pixels) -> Columns:
    """Return the feature of every test that these pixels have the bands for, NaN on surfaces it is not for."""
    found = {name: test.feature(pixels) for name, test in TESTS.items()}
    return {
        name: np.where(np.isin(pixels.land, TESTS[name].surfaces), value, np.nan)
        for name, value in found.items()
        if value is not None
    }


def grade(columns: Columns, cuts: Mapping[str, float]) -> np.ndarray:
    """Return how far pixels are inside the cloud side of the rule, (k,) in widths; cloud where positive.

    Minimum stands for 'and', maximum for 'or', as inside the groups of MOD35. NaN where no test took part.
    """
    distance = {name: (value - cuts[name]) / TESTS[name].width for name, value in columns.items()}
    bright = _join(np.fmin, distance, [name for name in DECISIVE if name in REFLECTIVE])
    reflective = _join(np.fmin, distance, REFLECTIVE)
    if reflective is not None and bright is not None:
        if SNOW.keys() <= distance.keys():
            reflective = np.fmin(reflective, np.fmax(distance["snow index"], distance["snow brightness"]))
        distance["reflective"] = np.where(np.isnan(bright), np.nan, reflective)
    cloud = _join(np.fmax, distance, ["reflective", *SINGLE])
    assert cloud is not None, "the caller has looked for a decisive test"
    warm = distance.get("not warm")
    return cloud if warm is None else np.where(np.isnan(cloud), np.nan, np.fmin(cloud, warm))


def _join(join: np.ufunc, distance: Columns, names: Iterable[str]) -> np.ndarray | None:
    """Return minimum or maximum of the named columns that are there, NaN taking no part; None if there are none."""
    present = [distance[name] for name in names if name in distance]
    return join.reduce(present) if present else None
