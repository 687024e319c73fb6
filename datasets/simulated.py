"""Simulated SLSTR scenes: clouds, surfaces and instrument from physics, with exact truth; needs no files.

Results on these scenes rank methods on known physics. They are not SLSTR accuracy.
"""

from __future__ import annotations

from pathlib import Path

from benchmark.api import Band
from benchmark.patchset import PatchWriter
from datasets._simulated_scenes import Job, Kind, source
from datasets.simulator import scene, tables

BANDS = tuple(Band(*band) for band in tables.BANDS)
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
    **dict.fromkeys(scene.FLAGS, _FLAG),
}


def _code() -> tuple[Path, ...]:
    # Products are written by modules that patches do not pass through.
    others, here = ("product", "sen3_"), Path(__file__)
    return here, *(f for f in sorted((here.parent / "simulator").glob("*.py")) if not f.name.startswith(others))


def _append(writer: PatchWriter, job: Job[scene.Scene], result: scene.Scene) -> list[str]:
    name = f"{job.part}-{job.number:04d}-{result.regime}"
    ids = [f"{name}-{index}" for index in range(job.wanted)]
    few = slice(job.wanted)
    strata = {key: values[few] for key, values in result.strata.items()}
    where = {key: getattr(result, key)[few] for key in ("time", "lat", "lon", "sun_zenith")}
    writer.append(ids, name, result.toa[few], result.mask[few], strata, **where)
    return ids


KIND = Kind(
    name="simulated",
    summary="simulated SLSTR scenes with exact truth, nine bands S1..S9 (the default; needs no files)",
    bands=BANDS,
    attributes=ATTRIBUTES,
    legends=LEGENDS,
    patches=scene.PATCHES,
    simulate=scene.simulate,
    append=_append,
    files=_code(),
)
SOURCE = source(KIND)
