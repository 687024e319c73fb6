"""The ground and the sea of one scene: classes, albedo, emissivity and temperature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.simulator import atmosphere, fractal, glint, tables
from datasets.simulator.geometry import PIXEL, Grid
from datasets.simulator.regimes import Regime
from datasets.simulator.tables import CROP, SEA, SEA_ICE, TURBID_WATER

_GREEN = np.isin(np.arange(len(tables.SURFACE_NAMES)), tables.GREEN_CLASSES)


@dataclass(frozen=True)
class Surface:
    """What lies under the clouds, (y, x) on the grid.

    Attributes:
        kind: class, an index of tables.SURFACE_NAMES.
        variation: departure of the albedo within a class, about -0.2 to 0.2.
        foam: share of the sea under whitecaps.
        wind: m/s.
        temperature: of the skin, K.
        air: of the air at the surface, K.
        water: column of water vapour, cm.
        relief: positive on land, negative over water: the field whose zero line is the coast.
    """

    kind: np.ndarray
    variation: np.ndarray
    foam: np.ndarray
    wind: np.ndarray
    temperature: np.ndarray
    air: float
    water: float
    relief: np.ndarray

    @property
    def land(self) -> np.ndarray:
        """Whether a map shows land here."""
        return ~np.isin(self.kind, tables.WATER_CLASSES)

    @property
    def open_water(self) -> np.ndarray:
        """Whether the sun can glint here."""
        return (self.kind == SEA) | (self.kind == TURBID_WATER)

    def albedo(self, band: int) -> np.ndarray:
        """Return the Lambertian albedo in one of S1..S7, (y, x) float32."""
        if band == tables.S7:
            return (1 - self.emissivity(0)).astype(np.float32)
        follows = np.where(_GREEN, tables.GREENING[band], 1.0).astype(np.float32)
        values = tables.ALBEDO[:, band].astype(np.float32)[self.kind] * (1 + follows[self.kind] * self.variation)
        return np.clip(values + np.float32(tables.WHITECAP[band]) * self.foam, 0, 0.98)

    def emissivity(self, thermal: int) -> np.ndarray:
        """Return the emissivity in S7, S8 or S9 (0, 1, 2), (y, x) float32; it varies where it is far from 1."""
        values = tables.EMISSIVITY[:, thermal].astype(np.float32)[self.kind]
        return 1 - (1 - values) * (1 + self.variation)


def draw_surface(rng: np.random.Generator, regime: Regime, grid: Grid, latitude: float, day: float) -> Surface:
    """Draw the surface of a scene."""
    air = float(np.clip(atmosphere.surface_air(latitude, day) + rng.normal(0, 3), *regime.air))
    water = tables.VAPOUR_AT_300K * np.exp((air - 300) / tables.VAPOUR_FALL) * rng.uniform(*regime.moisture)
    mosaic = fractal.gaussian(rng, grid.shape, 2.6, outer=80 / PIXEL)
    relief = _relief(rng, regime, grid.shape)
    kind = _classes(rng, regime, relief, mosaic)
    wind = rng.uniform(*regime.wind) * np.exp(0.12 * fractal.smooth(rng, grid.shape, 8 / 3)).astype(np.float32)
    variation = np.clip(0.5 * tables.ALBEDO_SPREAD * (mosaic + 0.6 * _parcels(rng, kind)), -0.3, 0.3)
    temperature = _temperature(rng, kind, mosaic, air)
    foam = (glint.foam(wind) * (kind == SEA)).astype(np.float32)
    return Surface(kind, variation.astype(np.float32), foam, wind, temperature, air, float(water), relief)


def _relief(rng: np.random.Generator, regime: Regime, shape: tuple[int, int]) -> np.ndarray:
    """Return a fractal field cut so that the regime's share lies above zero."""
    share = rng.uniform(*regime.land)
    field = fractal.gaussian(rng, shape, 3.3)
    if share in (0, 1):
        return np.full(shape, 4.0 * share - 2.0, np.float32)
    return field - np.float32(np.quantile(field[::4, ::4], 1 - share))


def _classes(rng: np.random.Generator, regime: Regime, relief: np.ndarray, mosaic: np.ndarray) -> np.ndarray:
    kind = np.full(relief.shape, SEA, np.uint8)
    turbid = rng.uniform(0, 0.25) + 0.1 * mosaic
    kind[(relief <= 0) & (relief > -turbid)] = TURBID_WATER
    if regime.ice:
        kind[(relief <= 0) & _ice(rng, regime.ice, relief.shape)] = SEA_ICE
    land = relief > 0
    if land.any():
        kind[land] = _cover(rng, regime, relief.shape, mosaic)[land]
    return kind


def _cover(rng: np.random.Generator, regime: Regime, shape: tuple[int, int], mosaic: np.ndarray) -> np.ndarray:
    """Return land classes along the gradient of a fractal field, with lakes."""
    gradient = fractal.gaussian(rng, shape, 2.9, outer=60 / PIXEL)
    edges = np.cumsum([share for _, share in regime.covers])[:-1]
    names = np.array([kind for kind, _ in regime.covers], np.uint8)
    cover = names[np.searchsorted(np.quantile(gradient[::4, ::4], edges), gradient)]
    if regime.lakes:
        lakes = gradient - mosaic
        cover[lakes > np.quantile(lakes[::4, ::4], 1 - regime.lakes)] = TURBID_WATER
    return cover


def _ice(rng: np.random.Generator, concentration: float, shape: tuple[int, int]) -> np.ndarray:
    """Return where ice floats: broken by leads, open beyond a fractal edge."""
    leads = np.abs(fractal.gaussian(rng, shape, 2.8, outer=40 / PIXEL)) > 0.05
    edge = fractal.gaussian(rng, shape, 3.0)
    share = min(1.0, concentration * rng.uniform(0.6, 1.3))
    return np.asarray(leads & (edge >= np.quantile(edge[::4, ::4], 1 - share)))


def _parcels(rng: np.random.Generator, kind: np.ndarray) -> np.ndarray:
    """Return fields of crops: parcels of about 1.5 km with a value each, zero elsewhere."""
    if not (kind == CROP).any():
        return np.zeros(kind.shape, np.float32)
    bend = 5 * fractal.smooth(rng, kind.shape, 3.0)
    angle, size = rng.uniform(0, np.pi / 2), rng.uniform(4, 8)
    y, x = np.arange(kind.shape[0])[:, None], np.arange(kind.shape[1])[None]
    row = ((np.cos(angle) * y + np.sin(angle) * x + bend) / size).astype(np.int32)
    column = ((np.cos(angle) * x - np.sin(angle) * y + bend) / size).astype(np.int32)
    values = rng.normal(size=(row.max() - row.min() + 1, column.max() - column.min() + 1)).astype(np.float32)
    return np.where(kind == CROP, values[row - row.min(), column - column.min()], 0)


def _temperature(rng: np.random.Generator, kind: np.ndarray, mosaic: np.ndarray, air: float) -> np.ndarray:
    """Return skin temperatures: sun-heated land, a sea near the air, snow and ice under an inversion."""
    heating = rng.uniform(*tables.DAYTIME_HEATING) * tables.HEATING_SHARE
    sea = np.clip(air + rng.normal(0.5, 1.0), *tables.SEA_TEMPERATURE)
    cold = air - rng.uniform(*tables.SURFACE_INVERSION)
    base = air + heating
    base[[tables.SEA, tables.TURBID_WATER, tables.SNOW, tables.SEA_ICE]] = sea, sea, min(cold, 273.0), min(cold, 271.0)
    return base.astype(np.float32)[kind] + tables.SKIN_VARIATION.astype(np.float32)[kind] * mosaic
