"""Foundation models besides Prithvi, and any other backbone of TerraTorch: `fm:<name in its registry>`."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product

from benchmark.api import Row, Weights
from models import _backbones, _names
from models._backbones import Backbone

ANY = "fm:"  # before a name in TerraTorch's registries
# Names there of backbones that say what their bands were standardised with in pretraining.
DECLARING = r"prithvi_eo_.+|terramind_v1_(tiny|small|base|large)|ssl4eos12_.+_sentinel2_all_.+"
KNOWN = {backbone.prefix: backbone for backbone in _backbones.BACKBONES}
FILES = {backbone.name: backbone.weights for backbone in _backbones.BACKBONES}


def row(name: _names.Name) -> Row | None:
    """Return the row of a name; None for a backbone or a start that there is not."""
    backbone = KNOWN.get(name.prefix)
    if name.prefix.startswith(ANY) and name.prefix != ANY:
        bare = name.prefix.removeprefix(ANY)
        backbone = Backbone(name.prefix, bare, name.prefix, declares=bool(re.fullmatch(DECLARING, bare)))
    if backbone is None or name.start == "simpretrained":
        return None
    found = _names.row(
        name,
        backbone.name,
        model=backbone.model,
        size=backbone.size,
        declares=backbone.declares,
        weights=FILES.get(backbone.name) or Weights("", f"{backbone.name}.safetensors"),
        notes=(backbone.note,),
    )
    if found is None:
        return None
    waves = {"wavelengths": backbone.wavelengths} if backbone.wavelengths else {}
    return replace(found, factors={**found.factors, **waves})


def resolve(text: str) -> Row | None:
    """Return the row of a name that is not enumerated; `fm:<backbone>[+options]` alone is pretrained and frozen."""
    name = _names.parse(text)
    if name is None and text.startswith(ANY):
        prefix, *options = text.split("+")
        name = _names.parse("+".join([f"{prefix}-pretrained-frozen", *options]))
    return row(name) if name else None


NAMES = f"{ANY}<name in TerraTorch's or timm's registry>[-pretrained-frozen]: any other backbone, all modes and options"
ROWS = tuple(
    found
    for backbone, start, mode in product(_backbones.BACKBONES, ("pretrained", "random"), ("frozen", "unfrozen"))
    if (backbone.weights or start == "random") and (found := row(_names.Name(backbone.prefix, start, mode)))
)
