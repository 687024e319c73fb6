"""What patch sets of simulated SLSTR scenes have in common, on relief and without."""

from __future__ import annotations

from pathlib import Path

from benchmark.patchset import PatchWriter
from datasets._simulated_scenes import Job
from datasets.simulator import scene, tables

ATTRIBUTES = {
    "sensor": "SLSTR (simulated)",
    "label_source": "simulated truth: at least half of the pixel has a cloud optical depth above 0.3, in view geometry",
    "label_bands": [],
    "licence": "Apache-2.0",
    "comment": "Results on simulated scenes rank methods on known physics; they are not SLSTR accuracy.",
}
LEGENDS = {
    "surface": dict(enumerate(tables.SURFACE_NAMES)),
    "land": {0: "water", 1: "land"},
    "phase": {0: "clear", 1: "liquid", 2: "ice", 3: "mixed"},
    **{flag: {0: "no", 1: "yes"} for flag in scene.FLAGS},
}


def code() -> tuple[Path, ...]:
    """Return the files that decide what a scene is, but for those of products, which patches do not pass through."""
    others, here = ("product", "sen3_"), Path(__file__)
    return here, *(f for f in sorted((here.parent / "simulator").glob("*.py")) if not f.name.startswith(others))


def append(writer: PatchWriter, job: Job[scene.Scene], result: scene.Scene) -> list[str]:
    """Write the wanted patches of a scene and return their ids."""
    name = f"{job.part}-{job.number:04d}-{result.regime}"
    ids = [f"{name}-{index}" for index in range(job.wanted)]
    few = slice(job.wanted)
    strata = {key: values[few] for key, values in result.strata.items()}
    where = {key: getattr(result, key)[few] for key in ("time", "lat", "lon", "sun_zenith")}
    writer.append(ids, name, result.toa[few], result.mask[few], strata, **where)
    return ids
