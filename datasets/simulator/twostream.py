"""Two-stream reflection and transmission of a homogeneous layer over a Lambertian surface.

Delta-Eddington, equations of Meador & Weaver (1980), J. Atmos. Sci. 37, 630-643. The layer scatters as a Lambertian
body: against a bidirectional solution its reflectance is wrong by some 10 to 25 %.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Closest approach to a conservative layer and to the removable pole at k mu0 = 1, both far below any printed digit.
_CONSERVATIVE, _POLE = 1e-9, 1e-6


class Layer(NamedTuple):
    """Fluxes for unit incident flux: the sun's beam (its direct and diffuse transmission apart), and diffuse light."""

    reflected: np.ndarray
    diffused: np.ndarray
    direct: np.ndarray
    reflected_diffuse: np.ndarray
    transmitted_diffuse: np.ndarray


def delta_scale(depth: np.ndarray, albedo: np.ndarray, asymmetry: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return optical depth, single-scattering albedo and asymmetry with the forward peak f = g^2 removed."""
    peak = asymmetry**2
    kept = 1 - albedo * peak
    return kept * depth, albedo * (1 - peak) / kept, (asymmetry - peak) / (1 - peak)


def layer(depth: np.ndarray, albedo: np.ndarray, asymmetry: np.ndarray, sun: float) -> Layer:
    """Return the fluxes of layers; arguments broadcast, `sun` is the cosine of the sun's zenith angle."""
    depth, albedo, asymmetry = delta_scale(*(np.asarray(value, float) for value in (depth, albedo, asymmetry)))
    albedo = np.minimum(albedo, 1 - _CONSERVATIVE)
    gamma1 = (7 - albedo * (4 + 3 * asymmetry)) / 4
    gamma2 = -(1 - albedo * (4 - 3 * asymmetry)) / 4
    gamma3 = (2 - 3 * asymmetry * sun) / 4
    k = np.sqrt(gamma1**2 - gamma2**2)
    k = np.where(np.abs(k * sun - 1) < _POLE, (1 + _POLE) / sun, k)
    fade, direct = np.exp(-k * depth), np.exp(-depth / sun)
    width = (k + gamma1) + (k - gamma1) * fade**2
    reflected, diffused = _beam(albedo, gamma1, gamma2, gamma3, k, sun, fade, direct, width)
    return Layer(reflected, diffused, direct, gamma2 * (1 - fade**2) / width, 2 * k * fade / width)


def _beam(
    albedo: np.ndarray,
    gamma1: np.ndarray,
    gamma2: np.ndarray,
    gamma3: np.ndarray,
    k: np.ndarray,
    sun: float,
    fade: np.ndarray,
    direct: np.ndarray,
    width: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the reflected and the diffusely transmitted share of the beam (equations 14 and 15)."""
    gamma4 = 1 - gamma3
    alpha1, alpha2 = gamma1 * gamma4 + gamma2 * gamma3, gamma1 * gamma3 + gamma2 * gamma4
    scale = albedo / ((1 - (k * sun) ** 2) * width)
    reflected = scale * (
        (1 - k * sun) * (alpha2 + k * gamma3)
        - (1 + k * sun) * (alpha2 - k * gamma3) * fade**2
        - 2 * k * (gamma3 - alpha2 * sun) * direct * fade
    )
    diffused = -scale * (
        (1 + k * sun) * (alpha1 + k * gamma4) * direct
        - (1 - k * sun) * (alpha1 - k * gamma4) * direct * fade**2
        - 2 * k * (gamma4 + alpha1 * sun) * fade
    )
    return reflected, diffused


def over_surface(slab: Layer, surface: np.ndarray) -> np.ndarray:
    """Return the reflectance of a layer over a Lambertian surface of this albedo."""
    transmitted = slab.diffused + slab.direct
    return slab.reflected + transmitted * surface * slab.transmitted_diffuse / (1 - surface * slab.reflected_diffuse)
