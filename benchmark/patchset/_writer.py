"""Writing a patch set: streaming, checked, and visible only when whole."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from benchmark.api import IGNORE, Band, UserError
from benchmark.patchset._checks import (
    PATCH_COORDS,
    check_attributes,
    check_bands,
    check_ids,
    check_patch,
    check_shapes,
    check_stratum,
)
from benchmark.patchset._store import SCHEMA, StratumHash, content_hash, is_store, patch_hash

NO_TIME = np.iinfo(np.int64).min


class PatchWriter:
    """Writes a patch set of any length in flat memory; to be used in a `with` statement.

    Patches go to a hidden folder beside the store, which takes the place of the store when the block ends without an
    error; of two processes that write the same store, the last to finish wins.

    Args:
        store: the Zarr store (format 2) to write; an older patch set there is replaced.
        bands: the band table.
        attrs: at least sensor, label_source, label_bands and licence; values are plain JSON.
        legends: meaning of the values of strata, by name; written as CF flag_values and flag_meanings.

    Raises:
        UserError: whatever the contract does not allow.
    """

    def __init__(
        self,
        store: Path,
        bands: Sequence[Band],
        attrs: Mapping[str, Any],
        legends: Mapping[str, Mapping[int, str]] | None = None,
    ) -> None:
        self.store, self.bands, self.attrs = store, tuple(bands), dict(attrs)
        self.legends = dict(legends or {})
        self._coords: dict[str, list[Any]] = {name: [] for name in ("patch", "sha256", *PATCH_COORDS)}
        self._columns: dict[str, list[np.ndarray]] = {}
        self._hashes: dict[str, StratumHash] = {}
        self._folder = store.parent / f".{store.name}.{uuid.uuid4().hex}.tmp"

    def __enter__(self) -> PatchWriter:
        check_bands(self.bands)
        check_attributes(self.attrs)
        check_replaceable(self.store)
        import zarr

        try:
            self.store.parent.mkdir(parents=True, exist_ok=True)
            self._group: Any = zarr.create_group(self._folder, zarr_format=2)
        except OSError as error:
            raise UserError(f"{self.store} cannot be written: {error}") from None
        return self

    def append(
        self,
        patch_ids: Sequence[str],
        scene: str | Sequence[str],
        toa: np.ndarray,
        mask: np.ndarray,
        strata: Mapping[str, np.ndarray] | None = None,
        time: Any = "NaT",
        lat: Any = np.nan,
        lon: Any = np.nan,
        sun_zenith: Any = np.nan,
    ) -> None:
        """Check and write some patches.

        A pixel that is NaN in any band is invalid: it becomes NaN in every band and 255 in the mask.

        Args:
            patch_ids: n unique ids.
            scene: scene of all of them, or of each.
            toa: (n, b, y, x) float32, reflectance as a fraction, brightness temperature in K, elevation in m.
            mask: (n, y, x) uint8, 0 clear, 1 cloud, 255 ignore.
            strata: by name, (n, y, x) or (n,); the same names and types in every call.
            time: datetime64 in UTC of all patches, or of each.
            lat: degrees north of the centre, of all patches or of each.
            lon: degrees east of the centre, of all patches or of each.
            sun_zenith: degrees, of all patches or of each.
        """
        check_ids(patch_ids, self._coords["patch"])
        check_shapes(toa, mask, len(self.bands), len(patch_ids))
        toa, mask = mark_invalid(toa, mask)
        for patch, values, labels in zip(patch_ids, toa, mask, strict=True):
            check_patch(patch, values, labels, self.bands)
        strata = {name: np.asarray(values) for name, values in (strata or {}).items()}
        self._check_strata(strata, mask.shape)
        scenes = np.broadcast_to(np.asarray(scene), len(patch_ids)).tolist()
        if "" in scenes:
            raise UserError(f"patch '{patch_ids[scenes.index('')]}' has an empty scene")
        self._check_size(toa.shape[2:])
        hashes = [patch_hash(values, labels) for values, labels in zip(toa, mask, strict=True)]
        columns = {"patch": patch_ids, "sha256": hashes, "scene": scenes}
        columns |= {"time": np.asarray(time, "datetime64[s]"), "lat": lat, "lon": lon, "sun_zenith": sun_zenith}
        self._write({"toa": toa, "mask": mask} | strata)
        for name, column in columns.items():
            self._coords[name].extend(np.broadcast_to(np.asarray(column), len(patch_ids)).tolist())

    def _check_size(self, shape: tuple[int, ...]) -> None:
        if "mask" in self._group and self._group["mask"].shape[1:] != shape:
            raise UserError(f"patches of {shape} pixels follow patches of {self._group['mask'].shape[1:]} pixels")

    def _check_strata(self, strata: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> None:
        for name, values in strata.items():
            check_stratum(name, values, shape[0], shape[1:])
        if self._coords["patch"] and set(strata) != set(self._hashes):
            raise UserError(f"strata are {sorted(strata)} after {sorted(self._hashes)}; all patches need the same")
        for name, values in strata.items():
            total = self._hashes.setdefault(name, StratumHash(values.dtype))
            if total.dtype != values.dtype and values.dtype.kind != "U":
                raise UserError(f"stratum '{name}' is {values.dtype} after {total.dtype}")

    def _write(self, variables: Mapping[str, np.ndarray]) -> None:
        """Append patches to the variables, one chunk a patch; strata of one value a patch wait for the end."""
        for name, values in variables.items():
            if name in self._hashes:
                self._hashes[name].update(values)
            if values.ndim == 1:
                self._columns.setdefault(name, []).append(values)
                continue
            if name not in self._group:
                dims = ("patch", "band", "y", "x") if name == "toa" else ("patch", "y", "x")
                self._create(name, (0, *values.shape[1:]), values.dtype, dims)
            self._group[name].append(values)

    def _create(self, name: str, shape: tuple[int, ...], dtype: np.dtype, dims: Sequence[str], fill: Any = None) -> Any:
        from numcodecs import Blosc

        # Shuffled LZ4 saves a quarter of the disk (and nearly all of a mask) at two thirds of the reading rate of no
        # compression; zstd halves that rate for 4 % less disk.
        return self._group.create_array(
            name,
            shape=shape,
            dtype=dtype,
            chunks=(1, *shape[1:]) if len(shape) > 1 else shape,
            compressors=Blosc(cname="lz4", clevel=1, shuffle=Blosc.SHUFFLE),
            fill_value=fill,
            attributes={"_ARRAY_DIMENSIONS": list(dims)},
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
                replace_folder(self._folder, self.store)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _finish(self) -> None:
        """Write what is known only now: coordinates, strata of one value a patch, attributes."""
        if not self._coords["patch"]:
            raise UserError(f"no patch was written to {self.store}")
        import zarr

        columns = {name: np.array(values) for name, values in self._coords.items()}
        columns["time"] = columns["time"].astype("datetime64[s]")
        flags = {name: _flags(meanings) for name, meanings in self.legends.items()}
        strata = {name: total.hexdigest(flags.get(name, {})) for name, total in self._hashes.items()}
        identity = content_hash(self.bands, columns, columns["sha256"].tolist(), strata)
        for name, values in columns.items():
            self._put(name, values, "patch")
        for name, pieces in self._columns.items():
            self._put(name, np.concatenate(pieces), "patch")
        for name in ("name", "role", "wavelength", "quantity"):
            values = np.array([getattr(band, name) for band in self.bands])
            self._put("band" if name == "name" else name, values, "band")
        for name, legend in flags.items():
            self._group[name].attrs.update(legend)
        # xarray reads "coordinates" to tell coordinates from variables.
        coordinates = " ".join((*PATCH_COORDS, "sha256", "role", "wavelength", "quantity"))
        facts = {"schema": SCHEMA, "fingerprint": identity, "coordinates": coordinates}
        self._group.attrs.update(self.attrs | facts)
        zarr.consolidate_metadata(self._folder, zarr_format=2)

    def _put(self, name: str, values: np.ndarray, dim: str) -> None:
        if values.dtype.kind != "M":
            self._create(name, values.shape, values.dtype, (dim,))[:] = values
            return
        array = self._create(name, values.shape, np.dtype(np.int64), (dim,), fill=NO_TIME)
        array[:] = values.astype(np.int64)
        array.attrs.update({"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian"})


def _flags(legend: Mapping[int, str]) -> dict[str, Any]:
    return {"flag_values": list(legend), "flag_meanings": " ".join(text.replace(" ", "_") for text in legend.values())}


def mark_invalid(toa: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return toa and mask where a pixel that is NaN in any band is NaN in every band and 255 in the mask."""
    invalid = np.isnan(toa).any(axis=1)
    toa = np.where(invalid[:, None], np.float32(np.nan), toa)
    return toa, np.where(invalid, np.uint8(IGNORE), mask)


def check_replaceable(store: Path) -> None:
    """Raise UserError where a store has the name of something that is not a patch set."""
    if store.exists() and not is_store(store):
        raise UserError(f"{store} exists and is not a patch set, so it is not replaced")


def replace_folder(folder: Path, target: Path) -> None:
    """Put a folder in the place of another; of two writers the last wins.

    A reader sees either of them whole, or for the moment between two renames none.
    """
    while True:
        try:
            folder.rename(target)
            return
        except OSError:
            if not target.exists():
                raise
        old = target.parent / f".{target.name}.{uuid.uuid4().hex}.old"
        with suppress(FileNotFoundError):
            target.rename(old)
        shutil.rmtree(old, ignore_errors=True)
