"""Prithvi-EO-2.0: every size, with and without time and place, from each start, and what learns."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from benchmark.api import Row, Weights
from models import _names

# (size, encoding) -> backbone in TerraTorch's registry; "tl" takes time and location, "tl-nocoords" could.
BACKBONES = {
    ("tiny", "plain"): "prithvi_eo_v2_tiny_tl",
    ("tiny", "tl"): "prithvi_eo_v2_tiny_tl",
    ("100", "plain"): "prithvi_eo_v2_100_tl",
    ("100", "tl"): "prithvi_eo_v2_100_tl",
    ("300", "plain"): "prithvi_eo_v2_300",
    ("300", "tl"): "prithvi_eo_v2_300_tl",
    ("300", "tl-nocoords"): "prithvi_eo_v2_300_tl",
    ("600", "plain"): "prithvi_eo_v2_600",
    ("600", "tl"): "prithvi_eo_v2_600_tl",
    ("600", "tl-nocoords"): "prithvi_eo_v2_600_tl",
}
HUB = "ibm-nasa-geospatial/Prithvi-EO-2.0-"
WEIGHTS = {
    "prithvi_eo_v2_tiny_tl": Weights(HUB + "tiny-TL", "Prithvi_EO_V2_tiny_TL.pt"),
    "prithvi_eo_v2_100_tl": Weights(HUB + "100M-TL", "Prithvi_EO_V2_100M_TL.pt"),
    "prithvi_eo_v2_300": Weights(HUB + "300M", "Prithvi_EO_V2_300M.pt"),
    "prithvi_eo_v2_300_tl": Weights(HUB + "300M-TL", "Prithvi_EO_V2_300M_TL.pt"),
    "prithvi_eo_v2_600": Weights(HUB + "600M", "Prithvi_EO_V2_600M.pt"),
    "prithvi_eo_v2_600_tl": Weights(HUB + "600M-TL", "Prithvi_EO_V2_600M_TL.pt"),
}
# Backbone -> checkpoint that `python -m benchmark pretrain` writes from simulated scenes;
# rows of the larger ones are found by name and not enumerated.
SIMULATED = {name: Weights("", f"{name}-simpretrained.safetensors") for name in WEIGHTS}

# Row -> name of the same run in the study, whose input was standardised by the training patches ("+trainstats").
STUDY = {
    "prithvi-300-random-unfrozen": "exp_0",
    "prithvi-300-random-frozen": "exp_1",
    "prithvi-300-pretrained-unfrozen": "exp_2",
    "prithvi-300-pretrained-frozen": "exp_3",
    "prithvi-300-tl-nocoords-pretrained-frozen": "exp_4",
    "prithvi-600-random-unfrozen": "exp_5",
    "prithvi-600-pretrained-frozen": "exp_6",
    "prithvi-300-random-head": "exp_7",
    "prithvi-300-random-frozen-long": "exp_31",
    "prithvi-300-pretrained-frozen-long": "exp_33",
}
NOTES = {
    "prithvi-300-random-unfrozen": "the study trained this run for 5 epochs and the others for 20; only suite "
    "study-as-published does the same",
    "prithvi-300-tl-pretrained-frozen": "what the study meant exp_4 to be; what it ran is "
    "prithvi-300-tl-nocoords-pretrained-frozen",
    "prithvi-300-tl-nocoords-pretrained-frozen": "the study called this run time and location, and gave the backbone "
    "neither",
}
PREFIXES = {
    f"prithvi-{size}{'' if encoding == 'plain' else f'-{encoding}'}": (size, encoding) for size, encoding in BACKBONES
}

# The rows that are not enumerated.
NAMES = (
    "prithvi-...-{"
    + ",".join(_names.PROBES)
    + "}: probes; any prithvi row with "
    + " or ".join(f"+{option}" for option in _names.OPTIONS)
)


def row(name: _names.Name) -> Row | None:
    """Return the row of a name; None where there is no such size, encoding or checkpoint."""
    if name.prefix not in PREFIXES:
        return None
    size, encoding = PREFIXES[name.prefix]
    backbone = BACKBONES[size, encoding]
    weights = (SIMULATED if name.start == "simpretrained" else WEIGHTS).get(backbone)
    if weights is None:
        return None
    study = str(replace(name, options=tuple(one for one in name.options if one != "trainstats")))
    notes = [NOTES.get(study, "")]
    if encoding == "plain" and backbone.endswith("_tl"):
        notes.append(f"there is no plain backbone of this size: {backbone} with its time and location encoding off")
    if encoding == "tl-nocoords" and name.start == "random":
        notes.append("random weights make this the same network as the plain one")
    if name.start == "simpretrained":
        notes.append("pretrained here by `python -m benchmark pretrain`, not the published weights")
    return _names.row(
        name,
        backbone,
        model="prithvi",
        size=size,
        encoding=encoding,
        weights=weights,
        study_id=STUDY.get(study, ""),
        notes=tuple(notes),
    )


def resolve(text: str) -> Row | None:
    """Return the row of any name of the grammar: with options, a probe, or more epochs; None where there is none."""
    name = _names.parse(text)
    return row(name) if name else None


def _enumerate() -> tuple[Row, ...]:
    table = (_names.Name(*parts) for parts in product(PREFIXES, _names.STARTS, _names.MODES))
    long = (_names.parse(text) for text in STUDY if text.endswith("-long"))
    wanted = (name for name in (*table, *long) if name and (name.start != "simpretrained" or "tiny" in name.prefix))
    return tuple(made for name in wanted if (made := row(name)))


ROWS = _enumerate()
