"""Radiation over relief: `simulator.render.Sky` with a height of the ground for each pixel.

A pixel is where its line of sight meets the ground, as in a product whose places are corrected for terrain. The air
above it is that above its height: less of it to scatter, and much less water vapour. Slopes, the shadows of mountains
and ground that hides other ground are left out.

A layer of cloud lies level at its height above the sea. Where the ground comes nearer to it than CLEARANCE, or lies
higher, it rests that far above the ground and follows it: no mountain loses its clouds by its height. Of cloud, height
tells what distance from the coast does, as fog and cumulus keep to one side of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from datasets import _relief_tables as relief
from datasets.simulator import atmosphere, optics, tables, thermal
from datasets.simulator.clouds import Layer
from datasets.simulator.optics import Place
from datasets.simulator.render import Sky, Sunward

TOP = 30.0  # km, where the air ends
_KNOTS = np.linspace(0, TOP, 1501)  # what depends on height alone is computed here and read between

Height = np.ndarray | float


@dataclass
class ReliefSky(Sky):
    """A scene on relief ready to be rendered; `ground` is its height in km, (y, x) float32."""

    ground: np.ndarray

    def __post_init__(self) -> None:
        """Look every layer up along the line of sight and along the sun's rays."""
        self.above = [self._above(layer) for layer in self.layers]
        self.levels = [self.ground, *(self.ground + above for above in self.above)]
        self.fluxes = [optics.fluxes(layer.particles, self.grid.sun) for layer in self.layers]
        self.depths = [self._sample(index, above, 0.0) for index, above in enumerate(self.above)]
        self.places = [Place.of(depth) for depth in self.depths]
        self.over_ground = self._towards_sun(0.0, 0)
        self.over_layer = [self._towards_sun(above, index + 1) for index, above in enumerate(self.above)]

    def _above(self, layer: Layer) -> np.ndarray:
        """Return a layer's height above the ground of each pixel, km."""
        return np.maximum(layer.height - self.ground, np.float32(min(layer.height, relief.CLEARANCE)))

    def _towards_sun(self, point: Height, first: int) -> Sunward:
        """Return layers from `first` up, as the sun's ray passes them to a point so far above the ground."""
        rays = ((index, self.above[index] - point) for index in range(first, len(self.layers)))
        return [(self.fluxes[index], Place.of(self._sample(index, point, rise))) for index, rise in rays]

    def _sample(self, index: int, point: Height, rise: Height) -> np.ndarray:
        """Return a layer's depth where rays pass it, (y, x) float32.

        Args:
            index: of the layer.
            point: height above the ground of the point that each pixel sees, km.
            rise: from that point up to the layer along the sun's ray, km.
        """
        from scipy.ndimage import map_coordinates  # not above: the catalogue is not to wait for it

        layer, shape = self.layers[index], self.grid.shape
        rows, columns = self.grid.towards_sun
        row = np.broadcast_to(layer.margin[0] + np.arange(shape[0])[:, None] + rows * rise, shape)
        column = layer.margin[1] + np.arange(shape[1]) + self.grid.towards_sensor * point + columns * rise
        return map_coordinates(layer.depth, [row, np.broadcast_to(column, shape)], order=1, mode="nearest")

    def reflectance(self, band: int) -> np.ndarray:
        """Return pi L / (mu0 E0) at the top of the atmosphere in one of S1..S7, (y, x) float32; see `Sky`."""
        sunlight = self.lit(band, 0)
        back = self.surface.albedo(band)
        up = back * sunlight
        mirrored = self._mirrored(band) * self.beam(band, self.over_ground)
        air = atmosphere.rayleigh(band, self.grid.view, self.grid.sun, self.grid.scattering).astype(np.float32)
        depths: list[np.ndarray] = [*(self._gas_depth(band, level) for level in self.levels), np.zeros((), np.float32)]
        shares: list[np.ndarray] = [*(air_share(level) for level in self.levels), np.zeros((), np.float32)]
        for index, ((low, high), (more, less)) in enumerate(zip(pairwise(depths), pairwise(shares), strict=True)):
            gas = np.exp((high - low) * self.grid.airmass)
            up, back, mirrored = gas * up + air * (more - less) * sunlight, gas * back, gas * mirrored
            if index < len(self.layers):
                sunlight = self.lit(band, index + 1)
                up, back = self._add(band, index, up, back, sunlight)
        return np.asarray(up + mirrored, np.float32)

    def _gas_depth(self, band: int, height: np.ndarray) -> np.ndarray:
        """Return the vertical optical depth of gases and backscattering molecules above a height."""
        vertical = np.ones(())
        return profile(lambda at: -np.log(atmosphere.two_way(band, at, self.surface.water, vertical)).item(), height)

    def radiance(self, band: int) -> np.ndarray:
        """Return the radiance in one of S7..S9, W m-2 sr-1 um-1, (y, x) float32; S7 includes reflected sunlight."""
        heat, wavelength = band - tables.S7, tables.WAVELENGTH[band]
        emissivity = self.surface.emissivity(heat)
        levels = [*self.levels, np.full(self.grid.shape, TOP, np.float32)]
        passed, glow = self._slab_of_vapour(band, levels[0], levels[1])
        down = glow * (1 - passed)
        up = emissivity * _planck(wavelength, self.surface.temperature) + (1 - emissivity) * down
        up = up * passed + down
        for index, (low, high) in enumerate(pairwise(levels[1:])):
            absorption = self.places[index].read(self.fluxes[index].absorption_depth[heat])
            source = _planck(wavelength, self._temperature(low))
            up = thermal.through_layer(up, absorption, self.grid.view, source)
            passed, glow = self._slab_of_vapour(band, low, high)
            up = up * passed + glow * (1 - passed)
        if band == tables.S7:
            up = up + self.reflectance(band) * np.float32(tables.SUN_37 * self.grid.sun / np.pi)
        return np.asarray(up, np.float32)

    def _slab_of_vapour(self, band: int, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return transmittance and black-body radiance of the water vapour between two heights, (y, x)."""
        heat, water = band - tables.S7, self.surface.water
        lower, upper = (profile(lambda at: atmosphere.infrared_depth(heat, water, at), end) for end in (low, high))
        middle = low + profile(lambda depth: atmosphere.slab_height(0.0, depth), high - low)
        glow = _planck(tables.WAVELENGTH[band], self._temperature(middle))
        return np.exp((upper - lower) / self.grid.view), glow

    def _temperature(self, height: np.ndarray) -> np.ndarray:
        return profile(lambda at: atmosphere.temperature(self.surface.air, at), height)


def profile(of: Callable[[float], float], height: np.ndarray) -> np.ndarray:
    """Return a function of height at heights in km, float32: the simulator's own, read between knots 20 m apart."""
    return np.interp(height, _KNOTS, [of(float(at)) for at in _KNOTS]).astype(np.float32)


def air_share(height: np.ndarray) -> np.ndarray:
    """Return the share of the air's mass above heights: pressure over that at the sea."""
    return profile(atmosphere.air_share, height)


def _planck(wavelength: float, temperature: np.ndarray) -> np.ndarray:
    return thermal.planck(wavelength, temperature).astype(np.float32)
