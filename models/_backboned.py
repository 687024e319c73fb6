"""What every method with a backbone does before its own work: the weights, the scale, and both again when loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.api import Band, Context, Images, NotRun, UserError

if TYPE_CHECKING:
    import numpy as np

    from models._encoder import Encoder


class Backboned:
    """A method with a backbone: its fields, what `begin` keeps in it, and the network that the method makes."""

    backbone: str
    coordinates: bool
    pretrained: bool
    statistics: str
    bands_: list[dict[str, Any]]
    seed_: int
    weights_: str
    scale_: dict[str, list[float]]
    network_: Any

    def embed(self, images: Images, ctx: Context) -> np.ndarray:
        """Return the last map of the backbone on cells that cover the patch, (n, rows, columns, channels) float32."""
        from models import _frozen, _tokens

        maps = _frozen.last_maps(self.network_, images, self.coordinates, ctx)
        return _tokens.on_patch(maps, self.network_.encoder, images.shape[-2:])


def begin(method: Backboned, images: Images, ctx: Context, *, learns: bool) -> Encoder:
    """Return the encoder; keep bands, seed, weights and scale in the method, and the scale on record.

    Where it does not learn, the trials of a row have one in common: drawing 300 million weights takes seconds.

    Raises:
        NotRun: there are no weights to start from.
        UserError: the images have another scale than the backbone declares.
    """
    from models import _scales

    if method.pretrained and ctx.weights is None:
        raise NotRun(f"{method.backbone} needs its published weights, and they are not here")
    method.bands_ = [asdict(band) for band in images.bands]
    method.seed_ = ctx.seed
    method.weights_ = str(ctx.weights) if method.pretrained else ""
    encoder = build(method, method.weights_, shared=not learns)
    method.scale_ = _scales.on_record(encoder.statistics, images, method.statistics, ctx)
    return encoder


def build(method: Backboned, weights: str, *, shared: bool = False) -> Encoder:
    """Return the encoder with the file's weights, with "" with random ones.

    Args:
        method: tells which.
        weights: checkpoint.
        shared: whether the last one that was built so may be given again; nobody may change it.

    Raises:
        UserError: the file is gone.
    """
    if weights and not Path(weights).is_file():
        raise UserError(f"the weights of {method.backbone} are no longer at {weights}")
    bands = tuple(Band(**band) for band in method.bands_)
    written = Path(weights).stat().st_mtime_ns if weights else 0
    make = last_built if shared else _build
    return make(method.backbone, bands, method.coordinates, method.seed_, weights, written)


def _build(backbone: str, bands: Sequence[Band], coordinates: bool, seed: int, weights: str, _written: int) -> Encoder:
    from models import _encoders

    path = Path(weights) if weights else None
    return _encoders.build(backbone, bands, coordinates=coordinates, seed=seed, weights=path)


last_built = lru_cache(maxsize=1)(_build)  # the trials of a row follow each other


def compare(method: Backboned, found: Mapping[str, str], kept: Mapping[str, str]) -> None:
    """Raise UserError where frozen parts have other checksums than those kept when the method was trained."""
    if found != kept:
        source = method.weights_ or f"seed {method.seed_}"
        raise UserError(f"{method.backbone} built from {source} has other weights than when this method was trained")
