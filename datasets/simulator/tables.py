"""Every physical number of the simulator, with where it comes from.

`SOURCES` names the origin of each table. MEMORY marks textbook values that were not re-read for this work: correct
them here and nowhere else. Arrays follow the band order S1..S9; reflective ones stop at S7.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MEMORY = "from memory, unverified"
MIE = "Mie computation, gamma distribution (ve 0.1), Hale & Querry 1973 (water), Warren & Brandt 2008 (ice)"
PRODUCT = "SLSTR level-1 product files (manifest, test data of public readers)"
SNAP = "solar irradiances of the SNAP toolbox"
ORAC = "table of the ORAC retrieval, after Sayer et al. 2010"

# name, role, centre in um, quantity
BANDS = (
    ("S1", "GREEN", 0.55427, "reflectance"),
    ("S2", "RED", 0.65947, "reflectance"),
    ("S3", "NIR_NARROW", 0.868, "reflectance"),
    ("S4", "CIRRUS", 1.3748, "reflectance"),
    ("S5", "SWIR_1", 1.6134, "reflectance"),
    ("S6", "SWIR_2", 2.2557, "reflectance"),
    ("S7", "BT_37", 3.742, "brightness_temperature"),
    ("S8", "BT_11", 10.854, "brightness_temperature"),
    ("S9", "BT_12", 12.0225, "brightness_temperature"),
)
REFLECTANCE_BANDS = range(6)
SUNLIT_BANDS = range(7)  # S7 sees the sun and the heat
S7 = 6
THERMAL_BANDS = (6, 7, 8)
WAVELENGTH = np.array([band[2] for band in BANDS])

# --- surface -------------------------------------------------------------------------------------------------------
SEA, TURBID_WATER, VEGETATION, CROP, DESERT, SNOW, SEA_ICE = range(7)
SURFACE_NAMES = ("sea", "turbid_or_inland_water", "vegetation", "crop", "desert", "snow", "sea_ice")
WATER_CLASSES = (SEA, TURBID_WATER, SEA_ICE)
# Directional-hemispherical albedo, (class, S1..S6).
ALBEDO = np.array(
    [
        [0.02, 0.012, 0.008, 0.005, 0.004, 0.003],
        [0.06, 0.05, 0.02, 0.01, 0.008, 0.005],
        [0.08, 0.05, 0.45, 0.30, 0.22, 0.10],
        [0.12, 0.14, 0.30, 0.32, 0.34, 0.24],
        [0.25, 0.35, 0.42, 0.46, 0.50, 0.48],
        [0.95, 0.93, 0.85, 0.30, 0.10, 0.05],
        [0.65, 0.62, 0.50, 0.12, 0.03, 0.02],
    ]
)
# Emissivity, (class, S7 S8 S9); desert S7 is the middle of 0.80 to 0.90.
EMISSIVITY = np.array(
    [
        [0.97, 0.99, 0.985],
        [0.97, 0.99, 0.985],
        [0.98, 0.985, 0.985],
        [0.95, 0.97, 0.975],
        [0.85, 0.95, 0.965],
        [0.98, 0.99, 0.985],
        [0.98, 0.99, 0.985],
    ]
)
ALBEDO_SPREAD = 0.2  # low-frequency variation within a class: two standard deviations of a fractal field
# Sign with which a band follows the variation: denser vegetation is darker in S1, S2, S5, S6 and brighter in S3.
GREENING = np.array([-0.7, -1.0, 0.6, 0.2, -0.7, -1.0])
GREEN_CLASSES = (VEGETATION, CROP)
DAYTIME_HEATING = (10.0, 25.0)  # K above the air on land in clear daytime
HEATING_SHARE = np.array([0.0, 0.0, 0.5, 0.8, 1.0, 0.0, 0.0])  # of the above, per class
SURFACE_INVERSION = (0.0, 6.0)  # K by which snow and ice are colder than the air
SEA_TEMPERATURE = (271.4, 303.0)
SKIN_VARIATION = np.array([0.4, 0.4, 1.0, 1.5, 2.0, 0.6, 0.8])  # K within a class

# --- cloud optics: effective radius in um, then per band S1..S9 ------------------------------------------------------


@dataclass(frozen=True)
class Optics:
    """Extinction relative to S1, single-scattering albedo and asymmetry of one particle size, each (S1..S9)."""

    radius: float
    extinction: tuple[float, ...]
    albedo: tuple[float, ...]
    asymmetry: tuple[float, ...]


WATER_OPTICS = (
    Optics(
        6,
        (1, 1, 1.04, 1.06, 1.07, 1.11, 1.21, 0.53, 0.63),
        (1, 1, 0.99996, 0.9940, 0.9961, 0.9876, 0.939, 0.419, 0.285),
        (0.86, 0.86, 0.83, 0.83, 0.81, 0.80, 0.75, 0.86, 0.83),
    ),
    Optics(
        10,
        (1, 1, 1.02, 1.04, 1.04, 1.08, 1.13, 0.85, 0.83),
        (1, 1, 0.99995, 0.9911, 0.9937, 0.9792, 0.899, 0.508, 0.374),
        (0.86, 0.86, 0.86, 0.85, 0.85, 0.84, 0.80, 0.93, 0.91),
    ),
    Optics(
        15,
        (1, 1, 1.00, 1.02, 1.03, 1.06, 1.08, 1.04, 0.94),
        (1, 1, 0.99992, 0.9876, 0.9909, 0.9697, 0.862, 0.539, 0.426),
        (0.86, 0.86, 0.87, 0.86, 0.86, 0.86, 0.84, 0.95, 0.94),
    ),
)
# Asymmetry of roughened aggregates in place of that of ice spheres (MEMORY).
ICE_ASYMMETRY = (0.77, 0.77, 0.77, 0.77, 0.78, 0.78, 0.78, 0.78, 0.78)
ICE_OPTICS = (
    Optics(
        20,
        (1, 1, 1.02, 1.03, 1.03, 1.05, 1.08, 0.98, 1.12),
        (1, 1, 0.99994, 0.9972, 0.9650, 0.9801, 0.734, 0.451, 0.489),
        ICE_ASYMMETRY,
    ),
    Optics(
        40,
        (1, 1, 1.01, 1.02, 1.02, 1.03, 1.05, 1.03, 1.09),
        (1, 1, 0.99987, 0.9950, 0.9352, 0.9623, 0.633, 0.490, 0.519),
        ICE_ASYMMETRY,
    ),
)
RADIUS_GROWTH = 0.2  # r_e ~ tau^0.2 in an adiabatic water cloud of constant droplet number

# --- aerosol ---------------------------------------------------------------------------------------------------------
SMOKE_DEPTH, SMOKE_ANGSTROM, SMOKE_ALBEDO, SMOKE_ASYMMETRY = (0.3, 3.0), (1.8, 2.0), (0.88, 0.95), 0.65
DUST_DEPTH, DUST_ANGSTROM, DUST_ASYMMETRY = (0.3, 2.0), (0.1, 0.3), 0.70
DUST_ALBEDO = (0.90, 0.95)  # at S1; the rest of the way to 1 shrinks by DUST_WHITENING
DUST_WHITENING = np.array([1.0, 0.6, 0.4, 0.4, 0.4, 0.4, 1.0])
DUST_INFRARED = np.array([0.06, 0.25, 0.15])  # absorption depth in S7 S8 S9 per depth at S1: S8 > S9 makes T11-T12 < 0
AEROSOL_HEIGHT = (1.0, 4.0)
AEROSOL_FLAG_DEPTH = 0.2

# --- atmosphere ------------------------------------------------------------------------------------------------------
RAYLEIGH_COEFFICIENT, RAYLEIGH_EXPONENT = 0.00877, -4.05  # wavelength in um
PRESSURE_HEIGHT, VAPOUR_HEIGHT, LAPSE = 8.0, 2.0, 6.5  # km, km, K per km
TROPOPAUSE = 205.0  # K
OZONE_DEPTH = np.array([0.03, 0.02, 0, 0, 0, 0, 0])  # vertical, 300 DU
MIXED_GAS_DEPTH = np.array([0, 0, 0, 0, 0.01, 0.03, 0.03])  # CO2, CH4, N2O
VAPOUR_DEPTH = np.array([0, 0, 0.005, 0, 0, 0, 0.01])  # per cm of water
CIRRUS_VAPOUR = 2.0  # S4: exp(-CIRRUS_VAPOUR sqrt(W) m), W in cm
# Vertical absorption depth a W + b W^2 in S7 S8 S9: T11-T12 from 0 K (dry) to 2 or 3 K (5 cm).
INFRARED_VAPOUR = np.array([[0.03, 0.0], [0.06, 0.008], [0.10, 0.012]])
SKY_LIGHT = np.array([0.25, 0.18, 0.10, 0.06, 0.05, 0.04, 0.02])  # diffuse share of the light in a shadow
VAPOUR_AT_300K = 5.0  # cm, falling by e in VAPOUR_FALL kelvin
VAPOUR_FALL = 14.0
AIR_AT_EQUATOR, AIR_FALL, AIR_SEASON = 300.5, 38.0, 15.0  # K: mean, fall with sin^2(lat), amplitude with sin(lat)

# --- sea surface -----------------------------------------------------------------------------------------------------
SLOPE_VARIANCE = (0.003, 0.00512)  # Cox & Munk 1954: a + b wind
REFRACTIVE_INDEX = np.array([1.341, 1.338, 1.334, 1.323, 1.323, 1.30, 1.374])
WHITECAP = np.array([0.4, 0.4, 0.24, 0.06, 0.06, 0.0, 0.0])
FOAM = (2.95e-6, 3.52)  # fraction a wind^b
GLINT_FLAG = 0.02

# --- thermal and solar -----------------------------------------------------------------------------------------------
PLANCK_1, PLANCK_2 = 1.191043e8, 1.438777e4  # W m-2 sr-1 um4, um K
SUN_37 = 11.0  # W m-2 um-1 at 3.74 um
SOLAR_IRRADIANCE = np.array([1837.39, 1525.94, 956.17, 365.90, 248.33, 78.33])  # mW m-2 nm-1

# --- orbit and instrument --------------------------------------------------------------------------------------------
LOCAL_TIME = 10.0  # hours, descending node
ORBIT_HEIGHT, EARTH_RADIUS = 814.5, 6371.0  # km
IMAGE_UP = 13.0  # bearing of decreasing rows, degrees: against the descending flight
SWATH = (-900.0, 500.0)  # km east of the sub-satellite track
RADIANCE_SCALE = np.array([0.01785, 0.0148, 0.009, 0.00356, 0.002258, 0.000742])  # S2, S4 chosen for full range at 1
TEMPERATURE_STEP = 0.01
POINT_SPREAD = (0.4, 0.5)  # sigma in pixels
NOISE_ALBEDO, NOISE_RATIO = 0.005, 20.0
NEDT, NEDT_AT = np.array([0.080, 0.050, 0.050]), 270.0
COLDEST = 180.0  # K, floor of what noise may leave
GAIN_ERROR, STRIPING = (0.02, 0.05), (0.002, 0.005)
DETECTORS = 4
COSMETIC_SHARE, COSMETIC_RANGE = 0.27, 0.17  # mean share of copies and how far it swings with place
LOWEST_SUN = 75.0  # degrees from the zenith
EDGE_SCENES, EDGE_SHARE = 0.12, (0.03, 0.2)  # scenes that show the edge of the swath, and how much of them is lost
TRACE_DEPTH = 0.03  # optical depth from which a layer counts for phase and top height
CLOUD_DEPTH = 0.3  # truth: cloud where more than half of the pixel exceeds it at S1

SOURCES = {
    "BANDS REFLECTANCE_BANDS SUNLIT_BANDS S7 THERMAL_BANDS WAVELENGTH RADIANCE_SCALE TEMPERATURE_STEP": PRODUCT,
    "DETECTORS COSMETIC_SHARE COSMETIC_RANGE": PRODUCT,
    "SEA TURBID_WATER VEGETATION CROP DESERT SNOW SEA_ICE SURFACE_NAMES WATER_CLASSES GREEN_CLASSES": "this project",
    "ALBEDO EMISSIVITY ALBEDO_SPREAD GREENING DAYTIME_HEATING HEATING_SHARE SURFACE_INVERSION SEA_TEMPERATURE "
    "SKIN_VARIATION": MEMORY,
    "WATER_OPTICS ICE_OPTICS": MIE,
    "ICE_ASYMMETRY RADIUS_GROWTH": MEMORY,
    "SMOKE_DEPTH SMOKE_ANGSTROM SMOKE_ALBEDO SMOKE_ASYMMETRY AEROSOL_HEIGHT AEROSOL_FLAG_DEPTH": MEMORY,
    "DUST_DEPTH DUST_ANGSTROM DUST_ALBEDO DUST_WHITENING DUST_ASYMMETRY DUST_INFRARED": MEMORY,
    "RAYLEIGH_COEFFICIENT RAYLEIGH_EXPONENT PRESSURE_HEIGHT VAPOUR_HEIGHT LAPSE TROPOPAUSE": MEMORY,
    "OZONE_DEPTH MIXED_GAS_DEPTH VAPOUR_DEPTH CIRRUS_VAPOUR INFRARED_VAPOUR SKY_LIGHT": MEMORY,
    "VAPOUR_AT_300K VAPOUR_FALL AIR_AT_EQUATOR AIR_FALL AIR_SEASON": MEMORY,
    "SLOPE_VARIANCE": "Cox & Munk 1954",
    "REFRACTIVE_INDEX WHITECAP": ORAC + "; S4 and S6 interpolated",
    "FOAM GLINT_FLAG": MEMORY,
    "PLANCK_1 PLANCK_2": "CODATA constants",
    "SUN_37": MEMORY,
    "SOLAR_IRRADIANCE": SNAP,
    "LOCAL_TIME ORBIT_HEIGHT EARTH_RADIUS IMAGE_UP SWATH": MEMORY,
    "POINT_SPREAD NOISE_ALBEDO NOISE_RATIO NEDT NEDT_AT COLDEST GAIN_ERROR STRIPING": MEMORY + " (requirements)",
    "LOWEST_SUN EDGE_SCENES EDGE_SHARE TRACE_DEPTH CLOUD_DEPTH": "this project",
}
