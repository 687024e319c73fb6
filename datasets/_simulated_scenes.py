"""What sources of simulated scenes share: a `Kind` says what its scenes are, `source` makes patch sets of them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Generic, TypeVar

from benchmark.api import Band, UserError, code, digest
from benchmark.patchset import PatchWriter
from benchmark.sources import Argument, Progress, Request, Result, Source
from benchmark.splits import PARTS, from_parts, split_path, write

SMALLEST = 32  # rows and columns of a patch
Scene = TypeVar("Scene")


@dataclass(frozen=True)
class Job(Generic[Scene]):
    """One scene to simulate, and how many of its patches are wanted."""

    simulate: Callable[[int, int, int, int], Scene]
    seed: int
    part: str
    number: int
    size: int
    wanted: int

    def run(self) -> Scene:
        """Simulate it."""
        return self.simulate(self.seed, PARTS.index(self.part), self.number, self.size)


@dataclass(frozen=True)
class Kind(Generic[Scene]):
    """A kind of simulated scenes.

    Attributes:
        name, summary: of the source.
        bands, attributes, legends: of its patch sets.
        patches: in a scene.
        simulate: (seed, number of the part, number of the scene in it, rows and columns of a patch) -> scene.
        append: writes the wanted patches of a scene and returns their ids.
        files: with the code that scenes are made with, besides this module.
    """

    name: str
    summary: str
    bands: tuple[Band, ...]
    attributes: Mapping[str, Any]
    legends: Mapping[str, Mapping[int, str]]
    patches: int
    simulate: Callable[[int, int, int, int], Scene]
    append: Callable[[PatchWriter, Job[Scene], Scene], list[str]]
    files: tuple[Path, ...]


def source(kind: Kind[Scene]) -> Source:
    """Return the data source of a kind of scenes."""

    def version(request: Request) -> str:
        patches = sorted(request.patches.items())
        return digest(request.seed, patches, request.size, code(Path(__file__), *kind.files))

    def make(request: Request, progress: Progress) -> None:
        _check(request)
        _make(kind, request, progress)

    return Source(kind.name, kind.summary, lambda path: False, version, make, spreads=True)


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


def _make(kind: Kind[Scene], request: Request, progress: Progress) -> None:
    """Write the patch set and its split, the same bytes wherever the scenes are simulated."""
    todo, spread = _jobs(kind, request), request.spread or _here
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    with (
        PatchWriter(request.store, kind.bands, kind.attributes, kind.legends) as writer,
        closing(spread(Job.run, todo)) as scenes,
    ):
        for job, scene in zip(todo, scenes, strict=True):
            parts[job.part] += kind.append(writer, job, scene)
            progress(sum(map(len, parts.values())), sum(job.wanted for job in todo))
    write(from_parts(request.store, parts, "scene"), split_path(request.store))


def _jobs(kind: Kind[Scene], request: Request) -> list[Job[Scene]]:
    """Return the scenes that the wanted patches come from; no two parts share a scene."""
    each = kind.patches
    return [
        Job(kind.simulate, request.seed, part, number, request.size, min(each, count - number * each))
        for part, count in ((part, request.patches[part]) for part in PARTS)
        for number in range(-(-count // each))
    ]


def _here(function: Callable[[Argument], Result], arguments: Iterable[Argument]) -> Generator[Result, None, None]:
    """Spread pieces of work over processes of this machine; memory does not grow with their number."""
    ahead = 2 * (os.cpu_count() or 1)
    waiting: deque[Future[Result]] = deque()
    # Fresh processes: forking one that runs threads (torch, zarr) can hang.
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for argument in arguments:
            waiting.append(pool.submit(function, argument))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
