"""Simulated land at 30 m in the six bands of HLS, as surface reflectance: what a Prithvi can be pretrained on offline.

Spectra, seasons, sun, clouds and their optics are those of the simulated SLSTR scenes; the ground has fields, lakes and
slopes, and there is no air, as in a product that is corrected for it. What real HLS shows and this lacks: roads,
settlements, rivers, hedges and tree lines, phenology of single crops, rocks and soils of many colours, directional
reflectance, cast shadows of terrain, layered clouds, haze that the correction has left, and the sea.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmark.api import Band
from benchmark.patchset import PatchWriter
from datasets import _hls_scene, _hls_tables
from datasets._simulated_scenes import Job, Kind, source
from datasets.simulator import tables

BANDS = tuple(Band(*band) for band in _hls_tables.BANDS)
ATTRIBUTES = {
    "sensor": "HLS (simulated)",
    "label_source": "simulated truth: cloud optical depth above 0.3 over the pixel",
    "label_bands": [],
    "licence": "Apache-2.0",
    "comment": "Simulated land of 30 m pixels: for pretraining without files; it is not HLS.",
}
LEGENDS = {"surface": dict(enumerate(tables.SURFACE_NAMES)), "land": {0: "water", 1: "land"}}


def _code() -> tuple[Path, ...]:
    here = Path(__file__)
    used = ("fractal", "instrument", "optics", "regimes", "scene", "tables", "twostream", "geometry")
    return here, *sorted(here.parent.glob("_hls_*.py")), *(here.parent / f"simulator/{name}.py" for name in used)


def _append(writer: PatchWriter, job: Job[_hls_scene.Patch], patch: _hls_scene.Patch) -> list[str]:
    name = f"{job.part}-{job.number:05d}-{patch.regime}"
    land = (~np.isin(patch.surface, tables.WATER_CLASSES)).astype(np.uint8)
    strata = {"surface": patch.surface[None], "land": land[None]}
    where = {"time": patch.time, "lat": patch.lat, "lon": patch.lon, "sun_zenith": patch.sun_zenith}
    writer.append([name], name, patch.toa[None], patch.mask[None], strata, **where)
    return [name]


KIND = Kind(
    name="simulated-hls",
    summary="simulated 30 m land in the six HLS bands, nearly clear: what `pretrain` learns from (needs no files)",
    bands=BANDS,
    attributes=ATTRIBUTES,
    legends=LEGENDS,
    patches=1,  # every patch is a scene of its own
    simulate=_hls_scene.simulate,
    append=_append,
    files=_code(),
)
SOURCE = source(KIND)
