"""From what the user calls the data to the parts that a cell sees."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmark import bands, catalog, patchset, root, splits
from benchmark.api import Part, UserError
from benchmark.profiles import Profile
from benchmark.sources import Progress, Request, Source, Spread


def prepare(
    spec: str, profile: Profile, out: Path, progress: Progress, spread: Spread | None = None
) -> tuple[str, Path]:
    """Return name and store of the data set that the user asked for, made now if it is not there yet.

    Args:
        spec: name of a source, a folder that a source recognises, or a Zarr store.
        profile: how many patches a source that makes them should make.
        out: root of what is kept.
        progress: called with patches done and patches in all.
        spread: as in `sources.Request`.

    Raises:
        UserError: no such source, or nothing recognises the path.
    """
    path, request = Path(spec), Request((), out, profile.patches, profile.size, spread=spread)
    if spec in catalog.sources():
        return spec, _made(catalog.sources()[spec], spec, request, progress)
    if not path.exists():
        known = ", ".join(catalog.sources())
        raise UserError(f"there is no data set or folder '{spec}'; data sets that need no files: {known}")
    path = path.resolve()
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", path.stem)
    if path.suffix == ".zarr":
        return name, path
    for source in catalog.sources().values():
        if source.recognises(path):
            return name, _made(source, name, replace(request, paths=(path,)), progress)
    raise UserError(f"'{spec}' is neither a Zarr patch set nor a folder that a data source recognises")


def _made(source: Source, name: str, request: Request, progress: Progress) -> Path:
    """Return the store that a source makes, named by the content of the request, whose store is the root as yet."""
    out = request.store
    store = out / "data" / f"{name}-{source.version(request)[:12]}.zarr"
    root.pull(out, [store, splits.split_path(store)])
    if not (store.exists() and splits.split_path(store).exists()):
        source.make(replace(request, store=store), progress)
    return store


def open_part(store: Path, split: splits.Split, entries: Sequence[str], part: str, reads: Sequence[str]) -> Part:
    """Return one part of a split as memory-mapped patches, with the bands in the order given and the maps in `reads`.

    Maps that the patch set lacks are left out.

    Args:
        store: the patch set.
        split: of it.
        entries: as `bands.choose` gives them.
        part: train, val or test.
        reads: names of maps.
    """
    arrays = patchset.arrays(store)
    chosen = bands.played(arrays.bands, entries)
    found = patchset.part(arrays, arrays.positions(split.parts[part]), [place for place, _ in chosen], reads)
    return replace(found, images=replace(found.images, bands=tuple(band for _, band in chosen)))
