"""Optical properties of cloud and aerosol layers in the nine bands, and their fluxes tabulated by optical depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.simulator import tables, twostream

CLEAR, LIQUID, ICE, MIXED = range(4)  # phase
_NODES, _SMALLEST, _LARGEST = 384, 0.02, 300.0
_STEP = np.log1p(_LARGEST / _SMALLEST) / (_NODES - 1)
DEPTHS = _SMALLEST * np.expm1(_STEP * np.arange(_NODES))  # at S1: even steps near zero, even ratios above


@dataclass(frozen=True)
class Particles:
    """Properties along DEPTHS: extinction relative to S1, albedo, asymmetry (S1..S9, depth) and infrared absorption.

    `absorption` is the absorption depth in S7 S8 S9 per unit of depth at S1.
    """

    extinction: np.ndarray
    albedo: np.ndarray
    asymmetry: np.ndarray
    absorption: np.ndarray


@dataclass(frozen=True)
class Fluxes:
    """What a layer does to light in S1..S7, and its absorption depth in S7 S8 S9: (band, depth) float32 each."""

    reflected: np.ndarray
    diffused: np.ndarray
    direct: np.ndarray
    reflected_diffuse: np.ndarray
    transmitted_diffuse: np.ndarray
    scaled_depth: np.ndarray
    absorption_depth: np.ndarray


def interpolate(phase: int, radius: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return extinction, albedo and asymmetry (band, radius), linear in effective radius (um) and beyond the ends."""
    rows = tables.ICE_OPTICS if phase == ICE else tables.WATER_OPTICS
    nodes = np.array([row.radius for row in rows], float)
    radius = np.atleast_1d(np.asarray(radius, float))
    low = np.clip(np.searchsorted(nodes, radius) - 1, 0, len(nodes) - 2)
    share = (radius - nodes[low]) / (nodes[low + 1] - nodes[low])
    stacks = [np.array([getattr(row, name) for row in rows], float).T for name in ("extinction", "albedo", "asymmetry")]
    extinction, albedo, asymmetry = ((1 - share) * values[:, low] + share * values[:, low + 1] for values in stacks)
    return extinction, np.minimum(albedo, 1.0), asymmetry


def cloud(phase: int, radius: float, mean_depth: float) -> Particles:
    """Return a cloud whose effective radius is `radius` at `mean_depth`; droplets grow with depth, ice does not."""
    growth = tables.RADIUS_GROWTH if phase == LIQUID else 0.0
    limits = (5.0, 18.0) if phase == LIQUID else (15.0, 60.0)
    radii = np.clip(radius * (np.maximum(DEPTHS, 0.05) / mean_depth) ** growth, *limits)
    extinction, albedo, asymmetry = interpolate(phase, radii)
    absorption = ((1 - albedo) * extinction)[list(tables.THERMAL_BANDS)]
    return Particles(extinction, albedo, asymmetry, absorption)


def smoke(angstrom: float, albedo: float) -> Particles:
    """Return fine smoke: extinction falls steeply with wavelength, no effect in the thermal bands."""
    return _aerosol(angstrom, np.full(9, albedo), tables.SMOKE_ASYMMETRY, np.zeros(3))


def dust(angstrom: float, albedo: float) -> Particles:
    """Return coarse dust: seen in every band, absorbing more at 11 um than at 12 um."""
    values = 1 - (1 - albedo) * np.append(tables.DUST_WHITENING, [1.0, 1.0])
    return _aerosol(angstrom, values, tables.DUST_ASYMMETRY, tables.DUST_INFRARED)


def _aerosol(angstrom: float, albedo: np.ndarray, asymmetry: float, absorption: np.ndarray) -> Particles:
    extinction = (tables.WAVELENGTH / tables.WAVELENGTH[0]) ** -angstrom
    columns = np.ones(_NODES)
    return Particles(
        extinction[:, None] * columns,
        albedo[:, None] * columns,
        np.full((9, _NODES), asymmetry),
        absorption[:, None] * columns,
    )


def fluxes(particles: Particles, sun: float) -> Fluxes:
    """Tabulate a layer along DEPTHS for a sun at this cosine of the zenith angle."""
    sunlit = slice(len(tables.SUNLIT_BANDS))
    albedo, asymmetry = particles.albedo[sunlit], particles.asymmetry[sunlit]
    depth = particles.extinction[sunlit] * DEPTHS
    slab = twostream.layer(depth, albedo, asymmetry, sun)
    scaled = twostream.delta_scale(depth, albedo, asymmetry)[0]
    return Fluxes(*(values.astype(np.float32) for values in (*slab, scaled, particles.absorption * DEPTHS)))


@dataclass(frozen=True)
class Place:
    """Where the depths of a field lie between DEPTHS; read many tables through one."""

    low: np.ndarray
    share: np.ndarray

    @classmethod
    def of(cls, depth: np.ndarray) -> Place:
        """Locate optical depths at S1."""
        position = np.log1p(depth * np.float32(1 / _SMALLEST)) * np.float32(1 / _STEP)
        low = np.minimum(position.astype(np.int32), _NODES - 2)
        return cls(low, position - low)

    def read(self, row: np.ndarray) -> np.ndarray:
        """Interpolate one row (depth,) of a table."""
        return row.take(self.low) + self.share * np.diff(row).take(self.low)
