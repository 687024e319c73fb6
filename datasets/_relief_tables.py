"""Every number that relief adds to the simulated SLSTR scenes, with where it comes from; the others are theirs.

Heights in km above the sea.
"""

from __future__ import annotations

from benchmark.api import ELEVATION
from datasets.simulator.tables import BANDS as MEASURED
from datasets.simulator.tables import MEMORY

BANDS = (*MEASURED, ("elevation", "ELEVATION", 0.0, ELEVATION))

# --- terrain ---------------------------------------------------------------------------------------------------------
TERRAIN_SPECTRUM = 3.0  # two-dimensional; profiles across it fall as k^-2
HIGHEST = (0.2, 4.0)  # of a scene's land
LOWEST = (0.0, 0.6)  # of the same, as a share of the highest
HYPSOMETRY = 2.0  # ground of rank u (0 to 1) lies at u^this of the way up: more low than high ground
COAST = 0.5  # in standard deviations of the field whose zero line is the coast: how far inland land is held down
ZONES = {0: "lowland", 1: "hills", 2: "mountains"}
ZONE_LIMITS = (0.5, 1.5)

# --- what lies on it -------------------------------------------------------------------------------------------------
SNOW_AIR = 273.15  # K: climatological air at the snow line of the season
LOWEST_SNOW_LINE = 0.5  # snow on plains is a matter of the regime
SNOW_EDGE = 0.15  # standard deviation of the snow line inside a scene
MELTING = 273.15  # K, of snow at most and of inland water at least
CLEARANCE = 0.3  # of a layer above the ground where it would else lie lower, or the layer's own height if that is less

SOURCES = {
    "TERRAIN_SPECTRUM": MEMORY + " (spectra of topography, Turcotte 1997)",
    "HIGHEST LOWEST HYPSOMETRY COAST ZONES ZONE_LIMITS SNOW_EDGE LOWEST_SNOW_LINE CLEARANCE": "this project",
    "SNOW_AIR": MEMORY + " (snow lines lie near the 0 degree level of the season's air)",
    "MELTING": "CODATA constants",
    "BANDS": "simulator.tables, and this project",
}
