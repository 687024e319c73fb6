"""Simulated SLSTR scenes: clouds, surfaces and instrument from physics, with exact truth; needs no files.

Results on these scenes rank methods on known physics. They are not SLSTR accuracy.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from benchmark.api import Band, UserError, code, digest
from benchmark.patchset import PatchWriter
from benchmark.sources import Progress, Request, Source
from benchmark.splits import PARTS, from_parts, split_path, write
from datasets.simulator import scene, tables

SMALLEST = 32  # rows and columns of a patch
_HERE = Path(__file__)
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


@dataclass(frozen=True)
class Job:
    """One scene to simulate, and how many of its patches are wanted."""

    seed: int
    part: str
    number: int
    size: int
    wanted: int

    def run(self) -> scene.Scene:
        """Simulate it."""
        return scene.simulate(self.seed, PARTS.index(self.part), self.number, self.size)


def jobs(request: Request) -> list[Job]:
    """Return the scenes that the wanted patches come from; no two parts share a scene.

    Raises:
        UserError: a part without patches, or patches that are too small.
    """
    _check(request)
    return [
        Job(request.seed, part, number, request.size, min(scene.PATCHES, count - number * scene.PATCHES))
        for part, count in ((part, request.patches[part]) for part in PARTS)
        for number in range(-(-count // scene.PATCHES))
    ]


def _check(request: Request) -> None:
    if request.paths:
        raise UserError(f"simulated scenes need no files, and {request.paths[0]} was named")
    if request.options:
        raise UserError(f"simulated scenes have no option '{next(iter(request.options))}'")
    for part in PARTS:
        if request.patches.get(part, 0) < 1:
            raise UserError(f"simulated scenes need at least one patch in part '{part}'")
    if request.size < SMALLEST:
        raise UserError(f"simulated patches have at least {SMALLEST} rows and columns, not {request.size}")


def version(request: Request) -> str:
    """Return a hash of the request and of the simulator's syntax trees."""
    # Products are written by modules that patches do not pass through.
    others = ("product", "sen3_")
    files = [_HERE, *(f for f in sorted((_HERE.parent / "simulator").glob("*.py")) if not f.name.startswith(others))]
    return digest(request.seed, sorted(request.patches.items()), request.size, code(*files))


def make(request: Request, progress: Progress) -> None:
    """Write the patch set and its split, the same bytes whatever the number of processes.

    Raises:
        UserError: what was asked for cannot be simulated.
    """
    todo = jobs(request)
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    with PatchWriter(request.store, BANDS, ATTRIBUTES, LEGENDS) as writer, _pool() as pool:
        for job, result in _in_order(pool, todo):
            parts[job.part] += _append(writer, job, result)
            progress(sum(map(len, parts.values())), sum(job.wanted for job in todo))
    write(from_parts(request.store, parts, "scene"), split_path(request.store))


def _pool() -> ProcessPoolExecutor:
    # Fresh processes: forking one that runs threads (torch, zarr) can hang.
    return ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn"))


def _in_order(pool: ProcessPoolExecutor, todo: Iterable[Job]) -> Iterator[tuple[Job, scene.Scene]]:
    """Yield results in the order of the jobs, with few of them waiting: memory does not grow with the data set."""
    ahead = 2 * (os.cpu_count() or 1)
    waiting: deque[tuple[Job, Future[scene.Scene]]] = deque()
    for job in todo:
        waiting.append((job, pool.submit(job.run)))
        if len(waiting) > ahead:
            first, future = waiting.popleft()
            yield first, future.result()
    for first, future in waiting:
        yield first, future.result()


def _append(writer: PatchWriter, job: Job, result: scene.Scene) -> list[str]:
    name = f"{job.part}-{job.number:04d}-{result.regime}"
    ids = [f"{name}-{index}" for index in range(job.wanted)]
    few = slice(job.wanted)
    strata = {key: values[few] for key, values in result.strata.items()}
    where = {key: getattr(result, key)[few] for key in ("time", "lat", "lon", "sun_zenith")}
    writer.append(ids, name, result.toa[few], result.mask[few], strata, **where)
    return ids


SOURCE = Source(
    name="simulated",
    summary="simulated SLSTR scenes with exact truth, nine bands S1..S9 (the default; needs no files)",
    recognises=lambda path: False,
    version=version,
    make=make,
)
