"""The deck of scene regimes and the cloud types in them. Ranges are from memory, unverified, unless a comment says so.

Every HANDS entry is one hand of regimes over different surfaces: a part of a data set plays whole hands in random
order, so that even six scenes show sea, coast, green land, dry land, snow and ice.
"""

from __future__ import annotations

from dataclasses import dataclass

from datasets.simulator.optics import ICE, LIQUID
from datasets.simulator.tables import CROP, DESERT, SNOW, VEGETATION

Range = tuple[float, float]


@dataclass(frozen=True)
class CloudType:
    """Ranges from which one layer is drawn.

    Attributes:
        phase: LIQUID or ICE.
        pattern: "fractal", "clusters", "closed" or "open" cells, "ripples", or "lines".
        cover: share of the scene with any cloud of this layer.
        depth: mean optical depth inside the cloud, drawn evenly in its logarithm.
        height: km; the layer is flat.
        radius: effective radius, um.
        spread: of the logarithm of optical depth.
        scale: km, largest structures or the spacing of cells.
        stretch: how much longer than wide.
        exponent: of the two-dimensional power spectrum.
        tilt: how strongly cover changes across the scene.
        land: preference for land (positive) or water.
    """

    phase: int
    pattern: str
    cover: Range
    depth: Range
    height: Range
    radius: Range
    spread: float = 0.7
    scale: Range = (40.0, 120.0)
    stretch: Range = (1.0, 1.5)
    exponent: float = 8 / 3
    tilt: float = 0.5
    land: float = 0.0


TYPES = {
    "cumulus": CloudType(
        LIQUID, "clusters", (0.1, 0.4), (5, 15), (1.0, 2.5), (8, 14), 1.0, (4, 15), (1, 2), tilt=0.6, land=0.5
    ),
    "trade cumulus": CloudType(LIQUID, "clusters", (0.1, 0.35), (4, 12), (1.0, 2.0), (9, 15), 1.0, (3, 10), (1, 3)),
    "closed cells": CloudType(LIQUID, "closed", (0.75, 1.0), (6, 15), (0.8, 1.5), (8, 14), 0.5, (10, 40), tilt=0.3),
    "open cells": CloudType(LIQUID, "open", (0.5, 0.75), (6, 15), (0.8, 1.8), (9, 15), 0.7, (12, 40), tilt=0.3),
    "stratus": CloudType(LIQUID, "fractal", (0.4, 0.95), (4, 15), (0.5, 1.5), (6, 12), 0.5, (60, 200), tilt=1.0),
    "fog": CloudType(
        LIQUID, "fractal", (0.25, 0.55), (3, 20), (0.1, 0.4), (6, 12), 0.5, (60, 200), exponent=3.4, tilt=0.5, land=-1.5
    ),
    "altocumulus": CloudType(LIQUID, "ripples", (0.3, 0.8), (3, 12), (3.0, 5.0), (7, 12), 0.6, (40, 120), (1, 3)),
    "altostratus": CloudType(
        ICE, "fractal", (0.5, 0.9), (3, 15), (4.0, 6.5), (20, 45), 0.6, (100, 300), (1, 3), 3.0, 1.2
    ),
    "front": CloudType(ICE, "fractal", (0.4, 0.8), (10, 40), (5.0, 8.0), (20, 40), 0.8, (150, 400), (2, 4), 3.0, 2.5),
    "cirrus": CloudType(
        ICE, "fractal", (0.4, 0.95), (0.15, 2.5), (7.0, 12.0), (20, 50), 0.9, (50, 200), (3, 8), tilt=1.0
    ),
    "contrails": CloudType(ICE, "lines", (0.0, 0.0), (0.1, 0.5), (9.0, 11.5), (15, 25)),
    "convection": CloudType(
        ICE, "fractal", (0.2, 0.45), (20, 60), (9.0, 13.0), (25, 45), 1.2, (40, 120), exponent=3.2, tilt=0.8
    ),
}


@dataclass(frozen=True)
class Regime:
    """One kind of scene.

    Attributes:
        name: part of the scene's name.
        latitude: degrees from the equator; the hemisphere is drawn.
        season: days of the year in the northern hemisphere; half a year later in the southern.
        land: share of land.
        covers: land classes with their shares, in the order of a gradient.
        layers: cloud types, each with the probability that it is there.
        lakes: share of the land under inland water.
        ice: sea-ice concentration of the water.
        wind: m/s.
        moisture: factor on the climatological water vapour.
        air: bounds in K of the surface air temperature.
        aerosol: "", "smoke" or "dust".
        across: where the scene's centre lies, km east of the sub-satellite track.
    """

    name: str
    latitude: Range
    season: Range
    land: Range
    covers: tuple[tuple[int, float], ...]
    layers: tuple[tuple[str, float], ...]
    lakes: float = 0.01
    ice: float = 0.0
    wind: Range = (2.0, 12.0)
    moisture: Range = (0.5, 1.1)
    air: Range = (240.0, 305.0)
    aerosol: str = ""
    across: Range = (-750.0, 400.0)


YEAR, SUMMER, SPRING = (1, 365), (130, 260), (60, 150)
OPEN_SEA = (0.0, 0.0)
GREEN = ((CROP, 0.35), (VEGETATION, 0.65))
FARMLAND = ((CROP, 0.7), (VEGETATION, 0.3))
STEPPE = ((DESERT, 0.6), (CROP, 0.4))
BARE = ((DESERT, 1.0),)
ALPINE = ((VEGETATION, 0.35), (CROP, 0.15), (SNOW, 0.5))
WHITE = ((SNOW, 0.92), (VEGETATION, 0.08))

HANDS = (
    (
        Regime("trade-cumulus", (8, 25), YEAR, OPEN_SEA, (), (("trade cumulus", 1.0), ("cirrus", 0.35))),
        Regime("front-over-forest", (38, 60), SUMMER, (1, 1), GREEN,
               (("front", 1.0), ("stratus", 0.4), ("cirrus", 0.4))),
        Regime("dusty-desert", (15, 33), YEAR, (1, 1), BARE, (("cirrus", 0.9), ("altocumulus", 0.3)), 0.0,
               moisture=(0.2, 0.5), aerosol="dust"),
        Regime("snow-plain", (45, 65), SPRING, (1, 1), WHITE, (("altostratus", 0.6), ("stratus", 0.6), ("cirrus", 0.5)),
               0.0, air=(250, 271)),
        Regime("foggy-coast", (25, 50), YEAR, (0.4, 0.6), STEPPE, (("fog", 1.0), ("cirrus", 0.3))),
        Regime("farmland-cumulus", (35, 55), SUMMER, (1, 1), FARMLAND, (("cumulus", 1.0), ("contrails", 0.4)), 0.02),
    ),
    (
        Regime("stratocumulus-glint", (5, 30), YEAR, OPEN_SEA, (), (("closed cells", 1.0),), across=(250, 420)),
        Regime("smoke-over-forest", (5, 58), SUMMER, (0.85, 1), GREEN, (("cumulus", 0.7), ("cirrus", 0.3)), 0.02,
               aerosol="smoke"),
        Regime("sea-ice", (62, 76), (80, 200), OPEN_SEA, (), (("stratus", 0.7), ("altostratus", 0.4), ("cirrus", 0.4)),
               ice=0.8, air=(248, 272)),
        Regime("tropical-convection", (0, 15), YEAR, (0.1, 0.7), GREEN,
               (("convection", 1.0), ("cirrus", 0.7), ("cumulus", 0.6)), moisture=(0.8, 1.2)),
        Regime("clear-desert", (18, 33), YEAR, (0.7, 1), BARE, (("cumulus", 0.3), ("cirrus", 0.4)), 0.0,
               moisture=(0.2, 0.6)),
        Regime("alpine", (40, 50), SPRING, (1, 1), ALPINE, (("cumulus", 0.8), ("altocumulus", 0.4), ("cirrus", 0.4)),
               0.01, air=(258, 280)),
    ),
    (
        Regime("open-cells", (25, 50), YEAR, OPEN_SEA, (), (("open cells", 1.0), ("cirrus", 0.3)), wind=(6, 15)),
        Regime("coastal-cirrus", (20, 45), YEAR, (0.3, 0.7), STEPPE,
               (("cirrus", 1.0), ("contrails", 0.5), ("cumulus", 0.4))),
        Regime("steppe-altocumulus", (25, 48), SUMMER, (0.9, 1), STEPPE, (("altocumulus", 1.0), ("cirrus", 0.4)), 0.01,
               moisture=(0.3, 0.8)),
        Regime("oceanic-front", (40, 62), SUMMER, OPEN_SEA, (), (("front", 1.0), ("open cells", 0.5), ("cirrus", 0.4)),
               wind=(6, 15)),
        Regime("polar-coast", (60, 72), (90, 190), (0.3, 0.6), WHITE, (("stratus", 0.7), ("altostratus", 0.4)), 0.0,
               ice=0.5, air=(252, 273)),
        Regime("clear-glint", (5, 28), YEAR, (0, 0.15), GREEN, (("trade cumulus", 0.5), ("contrails", 0.3)),
               wind=(1, 9), across=(230, 420)),
    ),
)  # fmt: skip
