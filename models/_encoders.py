"""Backbones by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmark.api import Band
from models import _prithvi
from models._encoder import Encoder


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
    """
    return _prithvi.build(name, bands, coordinates=coordinates, seed=seed, weights=weights)
