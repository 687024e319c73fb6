"""Backbones by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from benchmark.api import ELEVATION, Band, NotRun
from models import _clay, _dofa, _prithvi, _registry, _scalemae, _terramind, _torchgeo
from models._encoder import Encoder

# Names -> module that builds them; the registry's own rules build all others.
FAMILIES = (
    (r"dofa_(small|base|large)_patch16_224(_wrongwaves)?", _dofa),
    (r"terramind_v1_(tiny|small|base|large)", _terramind),
    (r"clay_v1_base", _clay),
    (r"scalemae_\w+", _scalemae),
)


def build(name: str, bands: Sequence[Band], *, coordinates: bool, seed: int, weights: Path | None) -> Encoder:
    """Return a backbone with the checkpoint's weights, every tensor compared, or with random ones drawn from `seed`.

    Args:
        name: in TerraTorch's registry, or of a variant that a module here knows.
        bands: of the input, in their order.
        coordinates: whether time and place go in.
        seed: of random weights, also of those for bands that a checkpoint does not know.
        weights: checkpoint; None for random weights.

    Raises:
        NotRun: the backbone cannot take these bands, or takes no coordinates.
        RuntimeError: the checkpoint does not give every tensor.
        UserError: there is no such name.
    """
    if any(band.quantity == ELEVATION for band in bands):  # it has no wavelength, and no place among pretrained bands
        raise NotRun(f"{name} takes what a sensor measured, and no elevation; choose other --bands")
    if name.startswith("prithvi_eo_"):
        return _prithvi.build(name, bands, coordinates=coordinates, seed=seed, weights=weights)
    if coordinates:  # TerraTorch's wrappers would take them and say nothing
        raise NotRun(f"{name} takes no time and place; only Prithvi's do")
    family = next((module for pattern, module in FAMILIES if re.fullmatch(pattern, name)), None)
    if family is None:
        family = _torchgeo if _torchgeo.covers(name) else _registry
    return family.build(name, bands, seed=seed, weights=weights)
