"""Simulated SLSTR scenes on relief, with elevation as a tenth band: `simulated` with mountains; needs no files.

Height acts by physics: less air, much less water vapour (S4 sees high ground), colder ground, snow above a snow line.
Results on these scenes rank methods on known physics. They are not SLSTR accuracy.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmark.api import Band
from benchmark.patchset import PatchWriter
from datasets import _relief_scene
from datasets import _relief_tables as relief
from datasets._simulated_scenes import Job, Kind, source
from datasets.simulator import scene, tables

BANDS = tuple(Band(*band) for band in relief.BANDS)
ATTRIBUTES = {
    "sensor": "SLSTR (simulated)",
    "label_source": "simulated truth: at least half of the pixel has a cloud optical depth above 0.3, in view geometry",
    "label_bands": [],
    "licence": "Apache-2.0",
    "comment": "Results on simulated scenes rank methods on known physics; they are not SLSTR accuracy.",
}
_FLAG = {0: "no", 1: "yes"}
LEGENDS = {
    "surface": dict(enumerate(tables.SURFACE_NAMES)),
    "land": {0: "water", 1: "land"},
    "phase": {0: "clear", 1: "liquid", 2: "ice", 3: "mixed"},
    "terrain": relief.ZONES,
    **dict.fromkeys(scene.FLAGS, _FLAG),
}


def _code() -> tuple[Path, ...]:
    # Products are written by modules that patches do not pass through.
    others, here = ("product", "sen3_"), Path(__file__)
    simulator = (f for f in sorted((here.parent / "simulator").glob("*.py")) if not f.name.startswith(others))
    return here, *sorted(here.parent.glob("_relief_*.py")), *simulator


def _append(writer: PatchWriter, job: Job[scene.Scene], result: scene.Scene) -> list[str]:
    name = f"{job.part}-{job.number:04d}-{result.regime}"
    few = np.arange(job.wanted)
    ids = [f"{name}-{index}" for index in few]
    strata = {key: values[few] for key, values in result.strata.items()}
    where = {key: getattr(result, key)[few] for key in ("time", "lat", "lon", "sun_zenith")}
    writer.append(ids, name, result.toa[few], result.mask[few], strata, **where)
    return ids


KIND = Kind(
    name="simulated-relief",
    summary="simulated SLSTR scenes on relief: nine bands S1..S9 and elevation in metres (needs no files)",
    bands=BANDS,
    attributes=ATTRIBUTES,
    legends=LEGENDS,
    patches=scene.PATCHES,
    simulate=_relief_scene.simulate,
    append=_append,
    files=_code(),
)
SOURCE = source(KIND)
