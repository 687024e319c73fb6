"""Patch sets of several sensors put together: the bands whose role all of them have, and a stratum `sensor`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, reduce
from pathlib import Path

import numpy as np

from benchmark import data, patchset, splits
from benchmark.api import Band, UserError, code, digest
from benchmark.patchset import Arrays, PatchWriter
from benchmark.profiles import Profile
from benchmark.sources import Progress, Spread
from benchmark.studies import _derived

SHARED = ("sensor", "label_source", "licence")


def prepare(
    spec: str, profile: Profile, out: Path, progress: Progress, spread: Spread | None = None
) -> tuple[str, Path]:
    """Return name and store of data sets joined by `+`; the stratum `sensor` holds the name of each.

    Args:
        spec: data sets, each as in `data.prepare`, with + between them.
        profile: as in `data.prepare`, which makes each.
        out: as there.
        progress: as there.
        spread: as there.

    Raises:
        UserError: data sets that cannot be joined, or a fault of one of them.
    """
    made = [data.prepare(word.strip(), profile, out, progress, spread) for word in spec.split("+")]
    names = [name for name, _ in made]
    if len(set(names)) < len(names):
        raise UserError(f"data sets of '{spec}' have the same name; join data sets of different names")
    stores = [store for _, store in made]
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", "-".join(names))
    identity = digest([patchset.attributes(store)["fingerprint"] for store in stores], names, _code())
    joined = out / "data" / f"{name}-{identity[:12]}.zarr"
    given = [splits.read(splits.split_path(store), store) for store in stores]
    if len({split.unit for split in given}) > 1:
        raise UserError(f"data sets of '{spec}' are split by {' and by '.join(split.unit for split in given)}")
    parts = {
        part: [_id(of, patch) for of, split in zip(names, given, strict=True) for patch in split.parts[part]]
        for part in splits.PARTS
    }
    arrays = [patchset.arrays(store) for store in stores]
    return name, _derived.make(joined, lambda to: _write(names, arrays, to), lambda: (parts, given[0].unit))


@cache
def _code() -> str:
    return code(Path(__file__))


def _id(name: str, patch: str) -> str:
    return f"{name}:{patch}"


def _write(names: Sequence[str], all_arrays: Sequence[Arrays], joined: Path) -> None:
    """Write the patches of all data sets, few in memory at a time."""
    sizes = {arrays.toa.shape[2:] for arrays in all_arrays}
    if len(sizes) > 1:
        raise UserError(f"patches of {' and '.join(f'{y}x{x}' for y, x in sorted(sizes))} pixels cannot be joined")
    roles = _roles(names, all_arrays)
    strata = sorted(reduce(set.intersection, (set(_alike(arrays)) for arrays in all_arrays)) - {"sensor"})
    strata = [name for name in strata if len({_kind(arrays, name) for arrays in all_arrays}) == 1]
    legends = {name: all_arrays[0].legends[name] for name in strata if name in all_arrays[0].legends}
    with PatchWriter(joined, _bands(all_arrays, roles), _attributes(all_arrays), legends) as writer:
        for name, arrays in zip(names, all_arrays, strict=True):
            place = {band.role: number for number, band in enumerate(arrays.bands)}
            channels = [place[role] for role in roles]
            for rows, where in _derived.batches(arrays):
                ids, scenes = ([_id(name, text) for text in each[rows]] for each in (arrays.ids, arrays.scenes))
                values = {one: np.asarray(arrays.strata[one][rows]) for one in strata}
                values["sensor"] = np.full(len(ids), name)
                toa = np.asarray(arrays.toa[rows])[:, channels]
                writer.append(ids, scenes, toa, np.asarray(arrays.mask[rows]), values, **where)


def _roles(names: Sequence[str], all_arrays: Sequence[Arrays]) -> list[str]:
    """Return the roles that all data sets have with one quantity, in the order of the first."""
    played = [{(band.role, band.quantity) for band in arrays.bands} for arrays in all_arrays]
    shared = [band.role for band in all_arrays[0].bands if all((band.role, band.quantity) in one for one in played)]
    if not shared:
        raise UserError(f"data sets {' and '.join(names)} share no band of one role, so they cannot be joined")
    return shared


def _bands(all_arrays: Sequence[Arrays], roles: Sequence[str]) -> list[Band]:
    """Return a band for each role, called by it; its wavelength is the mean of the sensors'."""
    found = []
    for role in roles:
        played = [band for arrays in all_arrays for band in arrays.bands if band.role == role]
        wavelength = float(np.mean([band.wavelength for band in played]))
        found.append(replace(played[0], name=role, wavelength=wavelength))
    return found


def _alike(arrays: Arrays) -> list[str]:
    apart = {*arrays.attrs.get("maps", ()), *arrays.attrs.get("metadata", ())}
    return [name for name in arrays.strata if name not in apart]


def _kind(arrays: Arrays, name: str) -> tuple[str, int, str]:
    """Return what must be the same for two strata to be one: type, dimensions and legend."""
    values = arrays.strata[name]
    return "U" if values.dtype.kind == "U" else values.dtype.str, values.ndim, repr(arrays.legends.get(name))


def _attributes(all_arrays: Sequence[Arrays]) -> dict[str, object]:
    """Return the attributes; bands that labels derive from are told by role, and not known where one of all is not."""
    told = {name: "; ".join(dict.fromkeys(str(arrays.attrs[name]) for arrays in all_arrays)) for name in SHARED}
    derived: set[str] | None = set()
    for arrays in all_arrays:
        known = arrays.attrs["label_bands"]
        roles = {band.name: band.role for band in arrays.bands}
        derived = None if known is None or derived is None else derived | {roles.get(name, name) for name in known}
    return {**told, "label_bands": None if derived is None else sorted(derived)}
