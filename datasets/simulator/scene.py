"""One scene: drawn from its seed, rendered, measured, and cut into patches with their truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.simulator import geometry, instrument, tables
from datasets.simulator.clouds import Layer, draw_layers
from datasets.simulator.geometry import BORDER, PIXEL, Grid
from datasets.simulator.instrument import FINE
from datasets.simulator.optics import CLEAR, ICE, LIQUID, MIXED
from datasets.simulator.regimes import HANDS, Regime
from datasets.simulator.render import Sky
from datasets.simulator.surface import draw_surface

PATCHES = 2  # side by side in one scene
_DECK = 2**31  # set apart from the scenes' numbers in the seeds of a part

FLAGS = ("shadow", "glint", "smoke", "dust", "cosmetic")


@dataclass(frozen=True)
class Scene:
    """The patches of one scene, arrays (PATCHES, ...) as the patch set stores them."""

    regime: str
    toa: np.ndarray
    mask: np.ndarray
    strata: dict[str, np.ndarray]
    time: np.ndarray
    lat: np.ndarray
    lon: np.ndarray
    sun_zenith: np.ndarray


def regime_of(seed: int, part: int, number: int) -> Regime:
    """Return the regime of a scene: whole hands in random order, each shuffled, until the deck is played again."""
    size = len(HANDS[0])
    rounds, place = divmod(number, size * len(HANDS))
    rng = np.random.default_rng(np.random.SeedSequence([seed, part, _DECK, rounds]))
    hands = rng.permutation(len(HANDS))
    cards = [rng.permutation(size) for _ in HANDS]
    hand, card = divmod(place, size)
    return HANDS[hands[hand]][cards[hand][card]]


def simulate(seed: int, part: int, number: int, size: int) -> Scene:
    """Simulate one scene; the result depends on nothing but the arguments.

    Args:
        seed: of the data set.
        part: number of the part (train, val, test).
        number: of the scene in its part.
        size: rows and columns of a patch.
    """
    regime = regime_of(seed, part, number)
    rng = np.random.default_rng(np.random.SeedSequence([seed, part, number]))
    latitude, day, grid = draw_place(rng, regime, size)
    surface = draw_surface(rng, regime, grid, latitude, day)
    sky = Sky(grid, surface, draw_layers(rng, regime, grid, surface.relief, surface.air))
    device = instrument.draw_instrument(rng, (size, PATCHES * size))
    toa = measure(rng, sky, device)
    mask, strata = truth(sky)
    strata["cosmetic"] = (device.copies != np.arange(mask.size).reshape(mask.shape)).astype(np.uint8)
    outside = ~instrument.swath(rng, grid)
    toa[:, outside], mask[outside] = np.nan, 255
    return cut(rng, regime.name, toa, mask, strata, (latitude, day, grid))


def draw_sun(rng: np.random.Generator, regime: Regime) -> tuple[float, float, float, float]:
    """Draw latitude and day of the year at which the sun stands high enough; return them and its zenith and azimuth."""
    while True:
        north = rng.random() < 0.6
        latitude = rng.uniform(*regime.latitude) * (1 if north else -1)
        day = (rng.uniform(*regime.season) + (0 if north else 182.5)) % 365
        zenith, azimuth = geometry.solar(latitude, day)
        if zenith < tables.LOWEST_SUN:
            return latitude, day, zenith, azimuth


def draw_place(rng: np.random.Generator, regime: Regime, size: int) -> tuple[float, float, Grid]:
    """Draw latitude, day of the year and the place in the swath; the sun stands high enough."""
    latitude, day, zenith, azimuth = draw_sun(rng, regime)
    shape = (FINE * size + 2 * BORDER, FINE * PATCHES * size + 2 * BORDER)
    centre = rng.uniform(*regime.across)
    width = PIXEL * shape[1]
    if rng.random() < tables.EDGE_SCENES:
        centre = tables.SWATH[int(centre > 0)] + (0.5 - rng.uniform(*tables.EDGE_SHARE)) * width * (
            -1 if centre > 0 else 1
        )
    else:
        centre = np.clip(centre, tables.SWATH[0] + width, tables.SWATH[1] - 0.7 * width)
    across = centre + (np.arange(shape[1]) - shape[1] / 2) * PIXEL
    return latitude, day, Grid(shape, across, zenith, (azimuth - tables.IMAGE_UP) % 360)


def measure(rng: np.random.Generator, sky: Sky, device: instrument.Instrument) -> np.ndarray:
    """Return the nine bands at 500 m, (band, y, x) float32."""
    reflective = [
        instrument.measure_reflectance(rng, sky.reflectance(band), band, device, sky.grid.sun)
        for band in tables.REFLECTANCE_BANDS
    ]
    thermal = [instrument.measure_temperature(rng, sky.radiance(band), band, device) for band in tables.THERMAL_BANDS]
    return np.stack([*reflective, *thermal])


def coarsen(fine: np.ndarray) -> np.ndarray:
    """Return means over 500 m pixels, without the border."""
    inner = fine[BORDER:-BORDER, BORDER:-BORDER].astype(np.float32)
    return (inner[::2, ::2] + inner[1::2, ::2] + inner[::2, 1::2] + inner[1::2, 1::2]) / 4


def truth(sky: Sky) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the mask (y, x) at 500 m in view geometry, and the strata but for `cosmetic`.

    A pixel is cloud where at least half of it has a total optical depth above tables.CLOUD_DEPTH at S1.
    """
    clouds = [(layer, depth) for layer, depth in zip(sky.layers, sky.depths, strict=True) if layer.is_cloud]
    total = sum((depth for _, depth in clouds), start=np.zeros(sky.grid.shape, np.float32))
    fraction = coarsen(total > tables.CLOUD_DEPTH)
    mask = (fraction >= 0.5).astype(np.uint8)
    phase, height = _vertical(clouds, mask.shape)
    surface = coarsen_class(sky.surface.kind)
    strata = {
        "surface": surface,
        "land": (~np.isin(surface, tables.WATER_CLASSES)).astype(np.uint8),
        "optical_depth": coarsen(total),
        "phase": phase,
        "top_height": height,
        "cloud_fraction": fraction,
        "shadow": ((coarsen(_cloud_shade(sky)) < 0.5) & (mask == 0)).astype(np.uint8),
        "glint": (coarsen(sky.glint(2)) >= tables.GLINT_FLAG).astype(np.uint8),
        "view_zenith": coarsen(np.broadcast_to(np.degrees(geometry.view_zenith(sky.grid.across)), sky.grid.shape)),
    }
    for kind in ("smoke", "dust"):
        strata[kind] = _aerosol_flag(sky, kind, mask.shape)
    return mask, strata


def coarsen_class(kind: np.ndarray) -> np.ndarray:
    """Return the class of one of the four fine pixels of each 500 m pixel."""
    return kind[BORDER:-BORDER:2, BORDER:-BORDER:2].copy()


def _vertical(clouds: list[tuple[Layer, np.ndarray]], shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return phase and the height in km of the highest layer that is more than a trace, zero where there is none."""
    phase, height = np.full(shape, CLEAR, np.uint8), np.zeros(shape, np.float32)
    for layer, depth in clouds:
        here = coarsen(depth) > tables.TRACE_DEPTH
        other = ICE if layer.phase == LIQUID else LIQUID
        phase[here] = np.where(np.isin(phase[here], (other, MIXED)), MIXED, layer.phase)
        height[here] = layer.height
    return phase, height


def _cloud_shade(sky: Sky) -> np.ndarray:
    """Return the share of the direct sun at S1 that the clouds let through to the ground."""
    above = [pair for pair, layer in zip(sky.over_ground, sky.layers, strict=True) if layer.is_cloud]
    return np.broadcast_to(sky.beam(0, above), sky.grid.shape)


def _aerosol_flag(sky: Sky, kind: str, shape: tuple[int, int]) -> np.ndarray:
    flag = np.zeros(shape, np.uint8)
    for layer, depth in zip(sky.layers, sky.depths, strict=True):
        if layer.kind == kind:
            flag |= (coarsen(depth) > tables.AEROSOL_FLAG_DEPTH).astype(np.uint8)
    return flag


def cut(
    rng: np.random.Generator,
    name: str,
    toa: np.ndarray,
    mask: np.ndarray,
    strata: dict[str, np.ndarray],
    place: tuple[float, float, Grid],
) -> Scene:
    """Cut a scene into patches and give them time and place."""
    latitude, day, grid = place
    parts = [slice(index * len(mask), (index + 1) * len(mask)) for index in range(PATCHES)]
    centres = (np.arange(PATCHES) - (PATCHES - 1) / 2) * len(mask) * FINE * PIXEL
    longitude = rng.uniform(-180, 180)
    bearing = np.radians(90 + tables.IMAGE_UP)
    degree = np.degrees(1 / tables.EARTH_RADIUS)
    lat = latitude + centres * np.cos(bearing) * degree
    lon = longitude + centres * np.sin(bearing) * degree / np.cos(np.radians(latitude))
    midnight = np.datetime64(f"{rng.integers(2018, 2025)}-01-01", "s") + np.timedelta64(int(day), "D")
    seconds = int(3600 * ((tables.LOCAL_TIME - longitude / 15) % 24))
    return Scene(
        name,
        np.stack([toa[:, :, part] for part in parts]),
        np.stack([mask[:, part] for part in parts]),
        {key: np.stack([value[:, part] for part in parts]) for key, value in strata.items()},
        np.full(PATCHES, midnight + np.timedelta64(seconds, "s")),
        lat,
        (lon + 180) % 360 - 180,
        np.full(PATCHES, grid.sun_zenith),
    )
