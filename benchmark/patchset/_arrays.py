"""Plain memory-mapped arrays of a patch set, made once beside its store: Zarr is too slow to train from."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.api import Band, Images, Part, UserError, digest
from benchmark.patchset._checks import PATCH_COORDS
from benchmark.patchset._store import attributes, bands_of, open_store, patch_hash, strata_names

MAPS = ("land",)  # strata that were known before the image was taken


@dataclass(frozen=True)
class Arrays:
    """A patch set as memory-mapped arrays; n patches in the order of the store.

    Attributes:
        toa: (n, b, y, x) float32.
        mask: (n, y, x) uint8.
        strata: by name, (n, y, x) or (n,).
        legends: meaning of the values of strata, by name, where the store gives it.
        ids: patch ids.
        scenes: scene of each patch.
        bands: the band table.
        time: (n,) datetime64[s], NaT where unknown.
        lat, lon, sun_zenith: (n,) degrees, NaN where unknown.
        attrs: attributes of the store.
        fingerprint: content hash of the store.
    """

    toa: np.ndarray
    mask: np.ndarray
    strata: dict[str, np.ndarray]
    legends: dict[str, dict[int, str]]
    ids: tuple[str, ...]
    scenes: tuple[str, ...]
    bands: tuple[Band, ...]
    time: np.ndarray
    lat: np.ndarray
    lon: np.ndarray
    sun_zenith: np.ndarray
    attrs: dict[str, Any]
    fingerprint: str

    def positions(self, patch_ids: Sequence[str]) -> np.ndarray:
        """Return the position of each of these patches.

        Raises:
            UserError: an id that is not in the patch set.
        """
        where = {patch: position for position, patch in enumerate(self.ids)}
        absent = next((patch for patch in patch_ids if patch not in where), None)
        if absent is not None:
            raise UserError(f"the patch set has no patch '{absent}'")
        return np.array([where[patch] for patch in patch_ids], np.int64)


def arrays(store: Path) -> Arrays:
    """Return the patch set in a store as memory-mapped arrays.

    They are made on the first call, in `<store stem>.arrays/<fingerprint>/` beside the store, one patch in memory at a
    time; two processes may do so at once.

    Raises:
        UserError: the path is not a patch set, a part of it cannot be read, or the arrays cannot be written.
    """
    attrs = attributes(store)
    identity = attrs["fingerprint"]
    folder = store.with_name(f"{store.stem}.arrays") / identity
    if not folder.exists():
        _build(store, folder)
    facts = json.loads((folder / "facts.json").read_text())
    legends = {name: {int(k): v for k, v in legend.items()} for name, legend in facts["legends"].items()}
    return Arrays(
        toa=_load(folder, "toa"),
        mask=_load(folder, "mask"),
        strata={name: _load(folder, name) for name in facts["strata"]},
        legends=legends,
        ids=tuple(facts["ids"]),
        scenes=tuple(facts["scenes"]),
        bands=tuple(Band(*values) for values in facts["bands"]),
        attrs={name: value for name, value in attrs.items() if name != "coordinates"},
        fingerprint=identity,
        **{name: np.load(folder / f"{name}.npy") for name in PATCH_COORDS if name != "scene"},
    )


def _load(folder: Path, name: str) -> np.ndarray:
    return np.load(folder / f"{name}.npy", mmap_mode="r")


def _build(store: Path, folder: Path) -> None:
    ds = open_store(store)
    # Between reading the attributes and here another process may have replaced the store.
    if ds.attrs["fingerprint"] != folder.name:
        raise UserError(f"{store} was replaced while it was being read; try again")
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    try:
        part.mkdir(parents=True)
        for name in ("toa", "mask", *strata_names(ds)):
            _copy(ds[name], part / f"{name}.npy")
        for name in PATCH_COORDS[1:]:
            values = ds[name].values
            np.save(part / f"{name}.npy", values.astype("datetime64[s]" if name == "time" else np.float64))
        _verify(ds, part)
        (part / "facts.json").write_text(json.dumps(_facts(ds)))
        try:
            part.rename(folder)
        except OSError:
            # Another process was faster, and its arrays are the same.
            if not folder.exists():
                raise
    except OSError as error:
        raise UserError(f"arrays of {store} cannot be written beside it: {error}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _verify(ds: Any, folder: Path) -> None:
    """Raise UserError where a patch read from the store is not the one that was written: a chunk may be missing."""
    toa, mask = _load(folder, "toa"), _load(folder, "mask")
    for row, (patch, known) in enumerate(zip(ds.patch.values, ds.sha256.values, strict=True)):
        if patch_hash(toa[row], mask[row]) != known:
            raise UserError(f"patch '{patch}' is not what was written into the patch set; it is damaged or incomplete")


def _copy(variable: Any, path: Path) -> None:
    """Copy a variable to a .npy file, one patch in memory at a time."""
    if variable.ndim == 1:
        values = variable.values
        np.save(path, values.astype(str) if values.dtype.kind in "OT" else values)
        return
    header = {"descr": np.lib.format.dtype_to_descr(variable.dtype), "fortran_order": False, "shape": variable.shape}
    # Plain writes, because a full disk ends a process that writes to a memory map.
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for row in range(len(variable)):
            file.write(np.ascontiguousarray(_patch(variable, row)).data)


def _patch(variable: Any, row: int) -> np.ndarray:
    try:
        return variable[row].values
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"patch {row + 1} of '{variable.name}' cannot be read: {error}") from None


def _facts(ds: Any) -> dict[str, Any]:
    names = strata_names(ds)
    legends = {}
    for name in names:
        attrs = ds[name].attrs
        if "flag_values" in attrs:
            values = np.atleast_1d(attrs["flag_values"]).tolist()
            legends[name] = dict(zip(values, attrs["flag_meanings"].split(), strict=True))
    return {
        "ids": ds.patch.values.tolist(),
        "scenes": ds.scene.values.tolist(),
        "bands": [astuple(band) for band in bands_of(ds)],
        "strata": names,
        "legends": legends,
    }


def images(arrays: Arrays, index: np.ndarray, channels: Sequence[int], reads: Sequence[str] = ()) -> Images:
    """Return patches at `index`, with the bands at `channels` and the maps that are there of those in `reads`.

    Neither truth nor other patches come along.
    """
    rows = np.asarray(index, np.int64)
    there = [name for name in reads if name in MAPS or name in arrays.attrs.get("maps", ())]
    return Images(
        toa=[arrays.toa[row] for row in rows],
        bands=tuple(arrays.bands[channel] for channel in channels),
        channels=tuple(channels),
        index=np.arange(len(rows)),
        time=arrays.time[rows],
        lat=arrays.lat[rows],
        lon=arrays.lon[rows],
        sun_zenith=arrays.sun_zenith[rows],
        maps={name: [arrays.strata[name][row] for row in rows] for name in there if name in arrays.strata},
        source=digest(arrays.fingerprint, rows.tolist()),
    )


def part(arrays: Arrays, index: np.ndarray, channels: Sequence[int], reads: Sequence[str] = ()) -> Part:
    """Return patches at `index`, with bands, maps and their truth, as one part of a split."""
    truth = [arrays.mask[row] for row in index]
    return Part(images(arrays, index, channels, reads), truth, tuple(arrays.scenes[row] for row in index))
