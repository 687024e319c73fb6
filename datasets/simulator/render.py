"""From surface and layers to radiation at the top of the atmosphere, on the fine grid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from datasets.simulator import atmosphere, glint, optics, tables, thermal
from datasets.simulator.clouds import Layer
from datasets.simulator.geometry import Grid
from datasets.simulator.optics import Fluxes, Place
from datasets.simulator.surface import Surface

Sunward = list[tuple[Fluxes, Place]]


@dataclass
class Sky:
    """A scene ready to be rendered; the layers are ordered from the lowest up."""

    grid: Grid
    surface: Surface
    layers: list[Layer]

    def __post_init__(self) -> None:
        """Look every layer up along the line of sight and along the sun's rays."""
        self.fluxes = [optics.fluxes(layer.particles, self.grid.sun) for layer in self.layers]
        self.depths = [self.grid.sample(layer.depth, layer.margin, layer.height, 0.0) for layer in self.layers]
        self.places = [Place.of(depth) for depth in self.depths]
        self.over_ground = self._sunward(0.0, 0)
        self.over_layer = [self._sunward(layer.height, index + 1) for index, layer in enumerate(self.layers)]

    def _sunward(self, height: float, first: int) -> Sunward:
        """Return layers from `first` up, as the sun's ray to a point seen at `height` passes them."""
        return [
            (fluxes, Place.of(self.grid.sample(layer.depth, layer.margin, height, layer.height - height)))
            for fluxes, layer in zip(self.fluxes[first:], self.layers[first:], strict=True)
        ]

    @property
    def ceiling(self) -> Iterator[float]:
        """Heights of the surface and the layers."""
        yield 0.0
        yield from (layer.height for layer in self.layers)

    @cached_property
    def glint_slopes(self) -> np.ndarray:
        """Glint at the surface without the Fresnel factor, zero on land and ice, (y, x) float32."""
        slopes = glint.slopes(self.grid.view, self.grid.sun, self.grid.azimuth, self.surface.wind)
        return (slopes * self.surface.open_water).astype(np.float32)

    def glint(self, band: int) -> np.ndarray:
        """Return the reflectance of the glint at the surface in one of S1..S7."""
        incidence, _ = glint.facet(self.grid.view, self.grid.sun, self.grid.azimuth)
        return self.glint_slopes * glint.fresnel(tables.REFRACTIVE_INDEX[band], incidence).astype(np.float32)

    def beam(self, band: int, above: Sunward) -> np.ndarray | np.float32:
        """Return the share of the direct sunlight that arrives under these layers."""
        share: np.ndarray | np.float32 = np.float32(1)
        for fluxes, place in above:
            share = share * place.read(fluxes.direct[band])
        return share

    def lit(self, band: int, level: int) -> np.ndarray | np.float32:
        """Return the sunlight that arrives, without what clouds diffuse, at the ground (0) or at layer `level` - 1.

        Where the line of sight is clear the light comes along the sun's ray, so shadows lie beside their clouds. Under
        a cloud it comes down the column: what the column above has scattered must not arrive a second time. What is
        missing in a shadow with clear sky above is partly filled by the light of that sky.
        """
        own = self.beam(band, [*zip(self.fluxes, self.places, strict=True)][level:])
        slanted = self.beam(band, (self.over_ground, *self.over_layer)[level])
        return own * (slanted + np.maximum(own - slanted, 0) * np.float32(tables.SKY_LIGHT[band])) + (1 - own) * own

    def reflectance(self, band: int) -> np.ndarray:
        """Return pi L / (mu0 E0) at the top of the atmosphere in one of S1..S7, (y, x) float32.

        Layers are added from the ground up. `up` is the light that leaves the stack so far upwards for the sun alone,
        `back` the stack's albedo for diffuse light from above; the direct beam reaches each level along the sun's ray,
        everything diffuse stays in its column.
        """
        sunlight = self.lit(band, 0)
        back = self.surface.albedo(band)
        up = back * sunlight
        mirrored = self._mirrored(band) * self.beam(band, self.over_ground)
        levels = [*self.ceiling]
        air = atmosphere.rayleigh(band, self.grid.view, self.grid.sun, self.grid.scattering).astype(np.float32)
        for index, (low, high) in enumerate(zip(levels, [*levels[1:], np.inf], strict=True)):
            gas = self._slab(band, low, high)
            share = np.float32(atmosphere.air_share(low) - atmosphere.air_share(high))
            up, back, mirrored = gas * up + air * share * sunlight, gas * back, gas * mirrored
            if index < len(self.layers):
                sunlight = self.lit(band, index + 1)
                up, back = self._add(band, index, up, back, sunlight)
        return np.asarray(up + mirrored, np.float32)

    def _slab(self, band: int, low: float, high: float) -> np.ndarray:
        """Return the two-way transmittance of the air between two heights, (x,) float32."""
        water, airmass = self.surface.water, self.grid.airmass
        above = 1.0 if np.isinf(high) else atmosphere.two_way(band, high, water, airmass)
        return (atmosphere.two_way(band, low, water, airmass) / above).astype(np.float32)

    def _add(
        self, band: int, index: int, up: np.ndarray, back: np.ndarray, beam: np.ndarray | np.float32
    ) -> tuple[np.ndarray, np.ndarray]:
        """Put a layer on the stack, lit by this share of the direct sunlight."""
        fluxes, place = self.fluxes[index], self.places[index]
        reflected = place.read(fluxes.reflected_diffuse[band])
        passed = place.read(fluxes.transmitted_diffuse[band])
        bounces = 1 / (1 - reflected * back)
        down = (beam * place.read(fluxes.diffused[band]) + reflected * up) * bounces
        up = beam * place.read(fluxes.reflected[band]) + passed * (up + back * down)
        return up, reflected + passed**2 * back * bounces

    def _mirrored(self, band: int) -> np.ndarray | np.float32:
        """Return the glint seen through the layers' direct transmission towards the sensor."""
        if not self.surface.open_water.any():
            return np.float32(0)
        slant = sum(
            (place.read(fluxes.scaled_depth[band]) for fluxes, place in zip(self.fluxes, self.places, strict=True)),
            start=np.zeros(self.grid.shape, np.float32),
        )
        return self.glint(band) * np.exp(-slant / self.grid.view)

    def radiance(self, band: int) -> np.ndarray:
        """Return the radiance in one of S7..S9, W m-2 sr-1 um-1, (y, x) float32; S7 includes reflected sunlight."""
        heat = band - tables.S7
        wavelength = tables.WAVELENGTH[band]
        emissivity = self.surface.emissivity(heat)
        levels = [*self.ceiling, np.inf]
        passed, glow = self._air(band, 0.0, levels[1])
        down = glow * (1 - passed)
        up = emissivity * _planck(wavelength, self.surface.temperature) + (1 - emissivity) * down
        up = up * passed + down
        for index, layer in enumerate(self.layers):
            absorption = self.places[index].read(self.fluxes[index].absorption_depth[heat])
            source = _planck(wavelength, atmosphere.temperature(self.surface.air, layer.height))
            up = thermal.through_layer(up, absorption, self.grid.view, source)
            passed, glow = self._air(band, layer.height, levels[index + 2])
            up = up * passed + glow * (1 - passed)
        if band == tables.S7:
            up = up + self.reflectance(band) * np.float32(tables.SUN_37 * self.grid.sun / np.pi)
        return np.asarray(up, np.float32)

    def _air(self, band: int, low: float, high: float) -> tuple[np.ndarray, np.float32]:
        """Return transmittance (x,) and black-body radiance of the water vapour between two heights."""
        heat = band - tables.S7
        water, end = self.surface.water, min(high, 30.0)
        depth = atmosphere.infrared_depth(heat, water, low) - atmosphere.infrared_depth(heat, water, end)
        air = atmosphere.temperature(self.surface.air, atmosphere.slab_height(low, end))
        return np.exp(-depth / self.grid.view).astype(np.float32), np.float32(_planck(tables.WAVELENGTH[band], air))


def _planck(wavelength: float, temperature: np.ndarray | float) -> np.ndarray:
    return thermal.planck(wavelength, temperature).astype(np.float32)
