"""Numbers that 30 m land scenes in the bands of HLS need beyond the tables of the simulator.

What is new here is from memory, unverified, unless a comment names a source; every other number comes from
`datasets.simulator.tables`, whose GREEN, RED, NIR and SWIR columns stand for the neighbouring bands of Landsat-8 OLI.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.simulator import tables
from datasets.simulator.regimes import BARE, FARMLAND, GREEN, SPRING, STEPPE, SUMMER, YEAR, Range, Regime
from datasets.simulator.tables import CROP, DESERT, SNOW, VEGETATION

# name in HLS L30, role, centre in um (user guide of Landsat 8), quantity
BANDS = (
    ("B02", "BLUE", 0.482, "reflectance"),
    ("B03", "GREEN", 0.561, "reflectance"),
    ("B04", "RED", 0.655, "reflectance"),
    ("B05", "NIR_NARROW", 0.865, "reflectance"),
    ("B06", "SWIR_1", 1.609, "reflectance"),
    ("B07", "SWIR_2", 2.201, "reflectance"),
)
# Column of the simulator's tables that each band reads; BLUE, which they lack, scatters in clouds as S1 does.
COLUMNS = (0, 0, 1, 2, 4, 5)
PIXEL = 0.03  # km

# --- ground ----------------------------------------------------------------------------------------------------------
# Albedo at BLUE of sea, inland water, vegetation, crop, desert, snow and sea ice.
_BLUE = np.array([0.03, 0.055, 0.04, 0.08, 0.16, 0.96, 0.66])
ALBEDO = np.column_stack([_BLUE, tables.ALBEDO[:, COLUMNS[1:]]]).astype(np.float32)  # (class, band)
SOIL = np.array([0.08, 0.11, 0.15, 0.23, 0.32, 0.27], np.float32)  # ploughed, dry
GREENING = tables.GREENING[list(COLUMNS)].astype(np.float32)  # BLUE follows the canopy as GREEN does
VARIATION = 0.2  # of the albedo within a class: two standard deviations
MOSAIC = (2.6, 1.5)  # exponent of the two-dimensional power spectrum and largest scale in km, of what grows where
TERRAIN = 3.6  # exponent of the two-dimensional power spectrum of heights
PARCEL = (0.12, 0.5)  # km, side of a field
GREEN_PARCELS = 0.6  # mean share of green cover in a field; the rest is SOIL

# --- light and sensor ------------------------------------------------------------------------------------------------
# Diffuse share of the light in a shadow; only BLUE is new.
SKY_LIGHT = np.array([0.30, *tables.SKY_LIGHT[list(COLUMNS[1:])]], np.float32)
COVER = (0.02, 0.3)  # share of a scene under cloud, where there is any
CLOUD_SCALE = (0.5, 4.0)  # km, the largest structures of clouds
POINT_SPREAD = 0.4  # sigma in pixels
NOISE = 0.002  # reflectance


@dataclass(frozen=True)
class Land:
    """One kind of scene: covers, lakes, clouds, season and latitude of a regime, and the RMS slope of its terrain."""

    regime: Regime
    slope: Range


# From the valleys up.
_HIGHLAND = ((CROP, 0.15), (VEGETATION, 0.55), (DESERT, 0.15), (SNOW, 0.15))
_MELTING = ((CROP, 0.2), (VEGETATION, 0.5), (SNOW, 0.3))

DECK = (
    Land(Regime("farmland", (30, 58), SUMMER, (1, 1), FARMLAND, (("cumulus", 0.5),), 0.02), (0.0, 0.04)),
    Land(Regime("forest", (38, 65), SUMMER, (1, 1), GREEN, (("cumulus", 0.4), ("cirrus", 0.2)), 0.03), (0.02, 0.15)),
    Land(Regime("highland", (35, 55), YEAR, (1, 1), _HIGHLAND, (("cumulus", 0.3),), 0.01), (0.2, 0.4)),
    Land(Regime("steppe", (25, 48), YEAR, (1, 1), STEPPE, (("altocumulus", 0.3), ("cirrus", 0.2)), 0.01), (0.0, 0.1)),
    Land(Regime("tropics", (0, 20), YEAR, (1, 1), GREEN, (("cumulus", 0.7),), 0.04), (0.0, 0.1)),
    Land(Regime("lakeland", (45, 66), SUMMER, (1, 1), GREEN, (("stratus", 0.3),), 0.3), (0.0, 0.05)),
    Land(Regime("desert", (15, 33), YEAR, (1, 1), BARE, (("cirrus", 0.3),), 0.0), (0.02, 0.2)),
    Land(Regime("plain", (35, 58), SUMMER, (1, 1), FARMLAND, (("cirrus", 0.3),), 0.05), (0.0, 0.02)),
    Land(Regime("melting-snow", (45, 66), SPRING, (1, 1), _MELTING, (("altocumulus", 0.3),), 0.02), (0.02, 0.15)),
)
