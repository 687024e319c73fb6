"""Simulated land at 30 m in the six bands of HLS, as surface reflectance: what a Prithvi can be pretrained on offline.

Spectra, seasons, sun, clouds and their optics are those of the simulated SLSTR scenes; the ground has fields, lakes and
slopes, and there is no air, as in a product that is corrected for it. What real HLS shows and this lacks: roads,
settlements, rivers, hedges and tree lines, phenology of single crops, rocks and soils of many colours, directional
reflectance, cast shadows of terrain, layered clouds, haze that the correction has left, and the sea.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmark.api import Band, UserError, code, digest
from benchmark.patchset import PatchWriter
from benchmark.sources import Progress, Request, Source
from benchmark.splits import PARTS, from_parts, split_path, write
from datasets import _hls_scene, _hls_tables
from datasets.simulator import tables

SMALLEST = 32  # rows and columns of a patch
NAME = "simulated-hls"
BANDS = tuple(Band(*band) for band in _hls_tables.BANDS)
ATTRIBUTES = {
    "sensor": "HLS (simulated)",
    "label_source": "simulated truth: cloud optical depth above 0.3 over the pixel",
    "label_bands": [],
    "licence": "Apache-2.0",
    "comment": "Simulated land of 30 m pixels: for pretraining without files; it is not HLS.",
}
LEGENDS = {"surface": dict(enumerate(tables.SURFACE_NAMES)), "land": {0: "water", 1: "land"}}
_HERE = Path(__file__)


@dataclass(frozen=True)
class Job:
    """One scene to simulate."""

    seed: int
    part: str
    number: int
    size: int

    def run(self) -> _hls_scene.Patch:
        """Simulate it."""
        return _hls_scene.simulate(self.seed, PARTS.index(self.part), self.number, self.size)


def jobs(request: Request) -> list[Job]:
    """Return the scenes that are wanted; every patch is a scene of its own.

    Raises:
        UserError: a part without patches, patches that are too small, or files or options, which it does not know.
    """
    if request.paths:
        raise UserError(f"simulated scenes need no files, and {request.paths[0]} was named")
    if request.options:
        raise UserError(f"simulated scenes have no option '{next(iter(request.options))}'")
    for part in PARTS:
        if request.patches.get(part, 0) < 1:
            raise UserError(f"simulated scenes need at least one patch in part '{part}'")
    if request.size < SMALLEST:
        raise UserError(f"simulated patches have at least {SMALLEST} rows and columns, not {request.size}")
    return [Job(request.seed, part, number, request.size) for part in PARTS for number in range(request.patches[part])]


def version(request: Request) -> str:
    """Return a hash of the request and of the syntax trees of everything that the scenes are made with."""
    used = ("fractal", "instrument", "optics", "regimes", "scene", "tables", "twostream", "geometry")
    files = [_HERE, *sorted(_HERE.parent.glob("_hls_*.py")), *(_HERE.parent / f"simulator/{name}.py" for name in used)]
    return digest(request.seed, sorted(request.patches.items()), request.size, code(*files))


def make(request: Request, progress: Progress) -> None:
    """Write the patch set and its split, the same bytes whatever the number of processes.

    Raises:
        UserError: what was asked for cannot be simulated.
    """
    todo = jobs(request)
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    with PatchWriter(request.store, BANDS, ATTRIBUTES, LEGENDS) as writer:
        for done, (job, patch) in enumerate(_in_order(todo), 1):
            parts[job.part].append(_append(writer, job, patch))
            progress(done, len(todo))
    write(from_parts(request.store, parts, "scene"), split_path(request.store))


def _in_order(todo: Sequence[Job]) -> Iterator[tuple[Job, _hls_scene.Patch]]:
    """Yield scenes in the order of the jobs; few wait at a time, so memory does not grow with the data set."""
    workers = os.cpu_count() or 1
    few = 16 * workers
    # Fresh processes: forking one that runs threads (torch, zarr) can hang.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for start in range(0, len(todo), few):
            batch = todo[start : start + few]
            yield from zip(batch, pool.map(Job.run, batch, chunksize=4), strict=True)


def _append(writer: PatchWriter, job: Job, patch: _hls_scene.Patch) -> str:
    name = f"{job.part}-{job.number:05d}-{patch.regime}"
    land = (~np.isin(patch.surface, tables.WATER_CLASSES)).astype(np.uint8)
    strata = {"surface": patch.surface[None], "land": land[None]}
    where = {"time": patch.time, "lat": patch.lat, "lon": patch.lon, "sun_zenith": patch.sun_zenith}
    writer.append([name], name, patch.toa[None], patch.mask[None], strata, **where)
    return name


SOURCE = Source(
    name=NAME,
    summary="simulated 30 m land in the six HLS bands, nearly clear: what `pretrain` learns from (needs no files)",
    recognises=lambda path: False,
    version=version,
    make=make,
)
