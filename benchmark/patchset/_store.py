"""Reading a patch set from its Zarr store, and the identity of its content."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.api import Band, UserError, digest
from benchmark.patchset._checks import (
    BAND_COORDS,
    PATCH_COORDS,
    check_attributes,
    check_bands,
    check_ids,
    check_patch,
    check_shapes,
    check_stratum,
)

if TYPE_CHECKING:
    import xarray as xr

SCHEMA = 1
# Codecs that turn bytes into numbers and text and do nothing else; Zarr knows others, and one of them is pickle.
CODECS = {"blosc", "zstd", "lz4", "zlib", "gzip", "bz2", "lzma", "shuffle", "delta", "vlen-utf8"}


@dataclass(frozen=True)
class Table:
    """What a split needs to know of a patch set, one value a patch, in the order of the store.

    `orbits` and `footprints` (WKT) are empty where the patch set does not know them.
    """

    ids: tuple[str, ...]
    scenes: tuple[str, ...]
    sha256: tuple[str, ...]
    time: np.ndarray
    orbits: tuple[str, ...] = ()
    footprints: tuple[str, ...] = ()


def attributes(store: Path) -> dict[str, Any]:
    """Return the attributes of a store without importing xarray or zarr.

    Raises:
        UserError: the path is not a patch set.
    """
    if not store.exists():
        raise UserError(f"there is no patch set at {store}")
    try:
        attrs: dict[str, Any] = json.loads((store / ".zattrs").read_text())
    except (OSError, ValueError):
        raise UserError(f"{store} is not a patch set: it has no readable .zattrs") from None
    if "fingerprint" not in attrs:
        raise UserError(f"{store} is not a patch set: its attributes hold no fingerprint")
    return attrs


def is_store(path: Path) -> bool:
    """Whether a path is a patch set that a PatchWriter wrote."""
    try:
        return bool(attributes(path))
    except UserError:
        return False


def open_store(store: Path) -> xr.Dataset:
    """Open a patch set; patches are read when asked for.

    Raises:
        UserError: the path is not a patch set, or a part of it cannot be read.
    """
    attributes(store)
    _check_codecs(store)
    import xarray as xr

    try:
        return _patiently(lambda: xr.open_zarr(store, chunks=None, consolidated=True, zarr_format=2))
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"patch set {store} cannot be opened: {error}") from None


def _check_codecs(store: Path) -> None:
    """Raise UserError where an array of a store is in a codec that may do more than decode."""
    try:
        whole = _patiently(lambda: json.loads((store / ".zmetadata").read_text()))["metadata"]
        own = [json.loads(path.read_text()) for path in store.glob("*/.zarray")]
        arrays = own + [one for name, one in whole.items() if name.endswith(".zarray")]
        used = {one["id"] for array in arrays for one in (array["compressor"], *(array["filters"] or ())) if one}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"patch set {store} cannot be opened: its metadata are damaged ({error})") from None
    if strange := used - CODECS:
        raise UserError(f"patch set {store} is in codec '{sorted(strange)[0]}', which may run code; it is not read")


def _patiently(read: Callable[[], Any]) -> Any:
    """Return what `read` gives; a second time after a moment, for a store that is replaced is away between renames."""
    try:
        return read()
    except (OSError, ValueError, KeyError):
        time.sleep(0.1)
        return read()


def table(store: Path) -> Table:
    """Return ids, scenes, content hashes, times, orbits and footprints of a store.

    Raises:
        UserError: the path is not a patch set, or a part of it cannot be read.
    """
    attributes(store)
    _check_codecs(store)
    import zarr

    try:
        group = _patiently(lambda: zarr.open_group(store, mode="r", zarr_format=2))
        names = [name for name in ("patch", "scene", "sha256", "orbit", "footprint") if name in group]
        texts = {name: tuple(np.asarray(group[name]).tolist()) for name in names}
        time = np.asarray(group["time"]).astype("datetime64[s]")
        ids, scenes, sha256 = texts["patch"], texts["scene"], texts["sha256"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"patch set {store} cannot be opened: {error}") from None
    return Table(ids, scenes, sha256, time, texts.get("orbit", ()), texts.get("footprint", ()))


def bands_of(ds: xr.Dataset) -> tuple[Band, ...]:
    """Return the band table of a patch set."""
    columns = (ds[name].values.tolist() for name in ("band", "role", "wavelength", "quantity"))
    return tuple(Band(*values) for values in zip(*columns, strict=True))


def strata_names(ds: xr.Dataset) -> list[str]:
    """Return the names of the strata of a patch set, sorted."""
    return sorted(str(name) for name in ds.data_vars if name not in ("toa", "mask"))


def patch_hash(toa: np.ndarray, mask: np.ndarray) -> str:
    """Return the SHA-256 of the bytes of one patch's toa (b, y, x) and mask (y, x)."""
    total = hashlib.sha256(np.ascontiguousarray(toa).data)
    total.update(np.ascontiguousarray(mask).data)
    return total.hexdigest()


def content_hash(
    bands: tuple[Band, ...], coords: Mapping[str, np.ndarray], hashes: list[str], strata: Mapping[str, str]
) -> str:
    """Return the fingerprint of a patch set.

    Args:
        bands: the band table.
        coords: `patch` and PATCH_COORDS, one value a patch.
        hashes: `patch_hash` of every patch.
        strata: `StratumHash` of every stratum.
    """
    spectral = [(band.name, band.role, float(band.wavelength), band.quantity) for band in bands]
    times = np.asarray(coords["time"]).astype("datetime64[s]").astype(np.int64).tolist()
    texts = [np.asarray(coords[name]).astype(str).tolist() for name in ("patch", "scene")]
    numbers = [np.asarray(coords[name], np.float64).tolist() for name in ("lat", "lon", "sun_zenith")]
    return digest(SCHEMA, spectral, hashes, times, texts, numbers, sorted(strata.items()))


class StratumHash:
    """SHA-256 of a stratum that arrives in pieces, however it is cut."""

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype
        self._total = hashlib.sha256(b"text" if dtype.kind == "U" else dtype.str.encode())

    def update(self, values: np.ndarray) -> None:
        """Add the values of some patches."""
        if values.dtype.kind == "U":
            self._total.update("".join(f"{len(text)}:{text}" for text in values.tolist()).encode())
        else:
            self._total.update(np.ascontiguousarray(values).data)

    def hexdigest(self, flags: Mapping[str, Any]) -> str:
        """Return the hash of all that came and of its legend, the CF attributes flag_values and flag_meanings."""
        values = np.atleast_1d(flags.get("flag_values", [])).tolist()
        return digest(self._total.hexdigest(), values, flags.get("flag_meanings", ""))


def fingerprint(ds: xr.Dataset) -> str:
    """Return the fingerprint of what a patch set holds; every patch is read, one at a time."""
    hashes = [patch_hash(ds.toa[row].values, ds.mask[row].values) for row in range(ds.sizes["patch"])]
    return _fingerprint(ds, hashes)


def _fingerprint(ds: xr.Dataset, hashes: list[str]) -> str:
    strata = {}
    for name in strata_names(ds):
        total = StratumHash(_plain(ds[name][:1].values).dtype)
        for row in range(ds.sizes["patch"]):
            total.update(_plain(ds[name][row : row + 1].values))
        strata[name] = total.hexdigest(ds[name].attrs)
    coords = {name: ds[name].values for name in ("patch", *PATCH_COORDS)}
    return content_hash(bands_of(ds), coords, hashes, strata)


def _plain(values: np.ndarray) -> np.ndarray:
    """Return text as fixed-width text: xarray may hand it out as objects."""
    return values.astype(str) if values.dtype.kind in "OT" else values


def validate(ds: xr.Dataset) -> None:
    """Check a patch set wholly, reading one patch at a time.

    Raises:
        UserError: one sentence that names patch, band and fault.
    """
    _check_layout(ds)
    check_attributes(ds.attrs)
    bands = bands_of(ds)
    check_bands(bands)
    ids = ds.patch.values.astype(str).tolist()
    check_ids(ids)
    stored = ds["sha256"].values.tolist() if "sha256" in ds else None
    hashes = []
    for row, patch in enumerate(ids):
        hashes.append(_check_row(ds, row, patch, bands))
        if stored and stored[row] != hashes[-1]:
            raise UserError(f"patch '{patch}' differs from its stored hash: the store was changed after it was written")
    if "fingerprint" in ds.attrs and ds.attrs["fingerprint"] != _fingerprint(ds, hashes):
        raise UserError("the patch set differs from its fingerprint: coordinates, bands or strata were changed")


def _check_row(ds: xr.Dataset, row: int, patch: str, bands: tuple[Band, ...]) -> str:
    try:
        toa, mask = ds.toa[row].values, ds.mask[row].values
        strata = {name: _plain(ds[name][row : row + 1].values) for name in strata_names(ds)}
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"patch '{patch}' cannot be read: {error}") from None
    check_shapes(toa[None], mask[None], len(bands), 1)
    check_patch(patch, toa, mask, bands)
    for name, values in strata.items():
        check_stratum(name, values, 1, toa.shape[1:])
    return patch_hash(toa, mask)


def _check_layout(ds: xr.Dataset) -> None:
    for name, dims in (("toa", ("patch", "band", "y", "x")), ("mask", ("patch", "y", "x"))):
        if name not in ds:
            raise UserError(f"the patch set has no variable '{name}'")
        if ds[name].dims != dims:
            raise UserError(f"{name} has dimensions ({', '.join(map(str, ds[name].dims))}); it must be {dims}")
    for dim, names in (("patch", ("patch", *PATCH_COORDS)), ("band", ("band", *BAND_COORDS))):
        for name in names:
            if name not in ds.coords or ds[name].dims != (dim,):
                raise UserError(f"the patch set has no coordinate '{name}' on ({dim})")
    if ds.sizes["patch"] == 0:
        raise UserError("the patch set has no patches")
