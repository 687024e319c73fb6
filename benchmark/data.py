"""From what the user calls the data to the parts that a cell sees."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from benchmark import catalog, patchset, splits
from benchmark.api import HLS_ROLES, Band, Part, UserError
from benchmark.profiles import Profile
from benchmark.sources import Request, Source

BAND_SETS = {"hls": "bands whose role Prithvi knows: " + ", ".join(HLS_ROLES), "all": "every band of the data set"}


def prepare(spec: str, profile: Profile, out: Path, progress: Callable[[int, int], None]) -> tuple[str, Path]:
    """Return name and store of the data set that the user asked for, made now if it is not there yet.

    Args:
        spec: name of a source, a folder that a source recognises, or a Zarr store.
        profile: how many patches a source that makes them should make.
        out: root of what is kept.
        progress: called with patches done and patches in all.

    Raises:
        UserError: no such source, or nothing recognises the path.
    """
    path = Path(spec)
    if spec in catalog.sources():
        return spec, _made(catalog.sources()[spec], spec, (), profile, out, progress)
    if not path.exists():
        known = ", ".join(catalog.sources())
        raise UserError(f"there is no data set or folder '{spec}'; data sets that need no files: {known}")
    path = path.resolve()
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", path.stem)
    if path.suffix == ".zarr":
        return name, path
    for source in catalog.sources().values():
        if source.recognises(path):
            return name, _made(source, name, (path,), profile, out, progress)
    raise UserError(f"'{spec}' is neither a Zarr patch set nor a folder that a data source recognises")


def _made(
    source: Source,
    name: str,
    paths: tuple[Path, ...],
    profile: Profile,
    out: Path,
    progress: Callable[[int, int], None],
) -> Path:
    """Return the store that a source makes, named by the content of the request."""
    request = Request(paths, out, profile.patches, profile.size)
    store = out / "data" / f"{name}-{source.version(request)[:12]}.zarr"
    if not (store.exists() and splits.split_path(store).exists()):
        source.make(replace(request, store=store), progress)
    return store


def choose_bands(bands: Sequence[Band], spec: str) -> tuple[str, ...]:
    """Return the names of the bands that a band set, or a comma-separated list of names or roles, stands for.

    Raises:
        UserError: a name that is neither, with the ones there are.
    """
    if spec == "all":
        return tuple(band.name for band in bands)
    if spec == "hls":
        chosen = tuple(band.name for band in bands if band.role in HLS_ROLES)
        if not chosen:
            raise UserError("the data set has none of the bands that Prithvi knows; choose others with --bands")
        return chosen
    known = {band.role: band.name for band in bands} | {band.name: band.name for band in bands}
    wanted = [name.strip() for name in spec.split(",")]
    unknown = next((name for name in wanted if name not in known), None)
    if unknown is not None:
        raise UserError(f"the data set has no band '{unknown}'; its bands are {', '.join(map(str, known))}")
    return tuple(dict.fromkeys(known[name] for name in wanted))


def open_part(store: Path, split: splits.Split, bands: Sequence[str], part: str, reads: Sequence[str]) -> Part:
    """Return one part of a split as memory-mapped patches, with the bands in the order given and the maps in `reads`.

    Maps that the patch set lacks are left out.
    """
    arrays = patchset.arrays(store)
    names = [band.name for band in arrays.bands]
    channels = tuple(names.index(band) for band in bands)
    return patchset.part(arrays, arrays.positions(split.parts[part]), channels, reads)
