"""A frame as the instrument measures it, rendered in strips of rows.

Every field is drawn for the whole frame; what lies above a row depends on its neighbourhood alone, so strips that
overlap by the reach of the point spread are seamless, and memory does not grow with bands and layers.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from datasets.simulator import instrument, scene, tables
from datasets.simulator.clouds import Layer, draw_layers
from datasets.simulator.geometry import BORDER
from datasets.simulator.instrument import FINE, Instrument
from datasets.simulator.product_frame import Frame, inside
from datasets.simulator.render import Sky
from datasets.simulator.surface import Surface, draw_surface

STRIP = 128  # rows of 500 m, whole scans
# Noise in K and the temperature in K at which it is that: F1 and F2 on the black body of a real granule.
FIRE = {"F1": ("S7", (0.3, 303.0)), "F2": ("S8", (0.04, 303.0))}
# Share of the cosmetic pixels whose own measurement fell into the pixel beside, so that there are 5 % of duplicates.
DISPLACED = 0.2
_FIELDS = ("kind", "variation", "foam", "wind", "temperature", "relief")


@dataclass(frozen=True)
class Cells:
    """Which measurement each pixel of a grid shows.

    Attributes:
        source: (y, x) flat index of the pixel whose measurement a pixel shows: its own, or that of a neighbour.
        inside: (y, x) whether it lies in the swath.
        duplicate: (y, x) whether a second measurement fell into it.
        orphans: (y, orphan_pixels) flat index of the pixel where that second one belongs, from the left; -1 for none.
    """

    source: np.ndarray
    inside: np.ndarray
    duplicate: np.ndarray
    orphans: np.ndarray

    @property
    def cosmetic(self) -> np.ndarray:
        """Which pixels in the swath show a copy, (y, x)."""
        return self.inside & (self.source != np.arange(self.source.size).reshape(self.source.shape))

    def image(self, own: np.ndarray, fill: float) -> np.ndarray:
        """Return what the grid shows, (y, x), of what every pixel measured itself."""
        return np.where(self.inside, own.ravel()[self.source], np.asarray(fill, own.dtype))

    def orphaned(self, own: np.ndarray, fill: float) -> np.ndarray:
        """Return the second measurements, (y, orphan_pixels)."""
        return np.where(self.orphans >= 0, own.ravel()[self.orphans], np.asarray(fill, own.dtype))


@dataclass(frozen=True)
class Measured:
    """A rendered frame.

    Attributes:
        signal: pi L / E0 of S1..S6 before it is digitised, (y, x) float32 at 500 m, every pixel's own measurement.
        temperature: brightness temperature of S7..S9, F1, F2, (y, x) float32 at 1 km, likewise.
        fine, coarse: the 500 m and the 1 km grid.
        offset: by which the 1 km grid is displaced, rows and columns of the rendered grid.
        ground: whether a map shows land, lakes included, (y, x) bool at 500 m.
        mask: truth, (y, x) uint8 at 500 m: 0 clear, 1 cloud, 255 outside the swath.
        strata: as of `scene.truth`, and `cosmetic`.
    """

    signal: dict[str, np.ndarray]
    temperature: dict[str, np.ndarray]
    fine: Cells
    coarse: Cells
    offset: tuple[int, int]
    ground: np.ndarray
    mask: np.ndarray
    strata: dict[str, np.ndarray]


@dataclass(frozen=True)
class _Drawn:
    frame: Frame
    surface: Surface
    layers: list[Layer]
    device: Instrument

    def sky(self, first: int, count: int) -> Sky:
        """Return `count` 500 m rows from `first` on, ready to be rendered."""
        rows = slice(FINE * first, FINE * (first + count) + 2 * BORDER)
        grid = replace(self.frame.grid, shape=(rows.stop - rows.start, self.frame.grid.shape[1]))
        surface = replace(self.surface, **{name: getattr(self.surface, name)[rows] for name in _FIELDS})
        layers = [
            replace(layer, depth=layer.depth[rows.start : rows.stop + 2 * layer.margin[0]]) for layer in self.layers
        ]
        return Sky(grid, surface, layers)


def render(frame: Frame) -> Measured:
    """Simulate a frame; the result depends on nothing but the frame."""
    drawn = _draw(frame)
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        strips = list(pool.map(lambda first: _strip(drawn, first), range(0, frame.rows, STRIP)))
    found = {name: np.concatenate([strip.pop(name) for strip in strips]) for name in list(strips[0])}
    within = inside(frame)
    rng = frame.rng(2)
    fine = _cells(rng, drawn.device.copies, within, 2 * (frame.columns // 16))
    coarse = _cells(rng, drawn.device.coarse_copies, _any_of_four(within), frame.columns // 16)
    names = [band[0] for band in tables.BANDS]
    reflective, thermal = names[: tables.S7], (*names[tables.S7 :], *FIRE)
    signal, temperature = ({name: found.pop(name) for name in group} for group in (reflective, thermal))
    ground, mask = found.pop("ground"), np.where(within, found.pop("mask"), np.uint8(255))
    found["cosmetic"] = fine.cosmetic.astype(np.uint8)
    return Measured(signal, temperature, fine, coarse, drawn.device.offset, ground, mask, found)


def _draw(frame: Frame) -> _Drawn:
    rng = frame.rng(0)
    surface = draw_surface(rng, frame.regime, frame.grid, frame.latitude, frame.day)
    layers = draw_layers(rng, frame.regime, frame.grid, surface.relief, surface.air)
    return _Drawn(frame, surface, layers, instrument.draw_instrument(rng, (frame.rows, frame.columns)))


def _strip(drawn: _Drawn, first: int) -> dict[str, np.ndarray]:
    """Return bands, truth and map of some rows, by name."""
    frame, device = drawn.frame, drawn.device
    rng = frame.rng(3 + first)
    shape = (min(STRIP, frame.rows - first), frame.columns)
    coarse = (shape[0] // 2, shape[1] // 2)
    sky = drawn.sky(first, shape[0])
    mask, found = scene.truth(sky)
    found |= {"mask": mask, "ground": scene.coarsen_class(sky.surface.relief > 0)}
    for band in tables.REFLECTANCE_BANDS:
        fine = sky.reflectance(band)
        found[tables.BANDS[band][0]] = instrument.signal(rng, fine, band, device, frame.grid.sun, shape)
    for band in tables.THERMAL_BANDS:
        fine, name = sky.radiance(band), tables.BANDS[band][0]
        wanted = {name: (float(tables.NEDT[band - tables.S7]), tables.NEDT_AT)}
        wanted |= {fire: noise for fire, (twin, noise) in FIRE.items() if twin == name}
        for target, noise in wanted.items():
            found[target] = instrument.temperature(rng, fine, band, device, coarse, noise)
    return {name: values.astype(np.float32) if values.dtype == float else values for name, values in found.items()}


def _any_of_four(fine: np.ndarray) -> np.ndarray:
    return fine[::2, ::2] | fine[1::2, ::2] | fine[::2, 1::2] | fine[1::2, 1::2]


def _cells(rng: np.random.Generator, source: np.ndarray, within: np.ndarray, width: int) -> Cells:
    """Let some of the missing measurements fall into the pixel that is copied; a row keeps `width` of them."""
    rows, columns = source.shape
    flat, own = source.ravel(), np.arange(source.size)
    moved = np.flatnonzero((flat != own) & within.ravel() & within.ravel()[flat] & (rng.random(flat.size) < DISPLACED))
    target, at = np.unique(flat[moved], return_index=True)
    row = target // columns
    place = np.arange(len(target)) - np.searchsorted(row, row)
    kept = place < width
    duplicate, orphans = np.zeros(source.size, bool), np.full((rows, width), -1, np.int32)
    duplicate[target[kept]] = True
    orphans[row[kept], place[kept]] = moved[at[kept]]
    return Cells(source, within, duplicate.reshape(source.shape), orphans)
