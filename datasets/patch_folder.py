"""A folder of GeoTIFF patches, laid out as in the EUMETSAT study and for TerraTorch's generic datamodule.

The folder, or `data/` in it, holds for every patch id

- `<id>_reflectance.tif`: float32 reflectance as a fraction, bands named by their descriptions (or by option `bands`);
- `<id>_binary.tif`: 0 clear, 1 cloud; 255, -1 or no-data to ignore;
- `<id>_thermal.tif`, optional: further bands, brightness temperature in K among them;
- `<id>_classes.tif`, optional: a finer label, kept as the stratum `classes`.

`splits/{train,val,test}.txt`, optional, list ids, one a line; matched exactly, never by a part of the name. Without
them, or with option `split`, the split is made by whole scenes or dates. The scene comes from the id (`read_name`).

Options: `split` (scene, date), `bands` (names in file order, reflectance first), `scale` (factor that makes reflectance
a fraction), `scene_pattern` (regular expression for the whole id with groups scene and, optionally, time and biome),
and, for the record, `sensor`, `label_source`, `label_bands` ("none" if the label derives from no band), `licence`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.api import REFLECTANCE, UserError, code, digest
from benchmark.patchset import PatchWriter
from benchmark.sources import Progress, Request, Source
from benchmark.splits import PARTS, Split, by_date, by_group, from_parts, split_path, write
from datasets._patch_names import Name, compile_pattern, make_bands, read_name

SUFFIXES = ("_reflectance", "_binary")
OPTIONS = ("split", "bands", "scale", "scene_pattern", "sensor", "label_source", "label_bands", "licence")
# Legend of the USGS 'L8 Biome' cloud-cover validation masks.
CLASSES = {64: "cloud_shadow", 128: "clear", 192: "thin_cloud", 255: "cloud"}

_HERE = Path(__file__)


@dataclass(frozen=True)
class Folder:
    """What lies in a patch folder.

    Attributes:
        path: where the GeoTIFFs are.
        ids: patch ids, sorted.
        thermal: whether patches have a thermal file.
        classes: whether patches have a class map.
        parts: patch ids of each part, None without split files.
    """

    path: Path
    ids: tuple[str, ...]
    thermal: bool
    classes: bool
    parts: dict[str, list[str]] | None


@dataclass(frozen=True)
class Patch:
    """One patch as it is in its files: toa (b, y, x), mask (y, x), classes (y, x) or None, centre in degrees."""

    toa: np.ndarray
    mask: np.ndarray
    classes: np.ndarray | None
    names: tuple[str, ...]
    lat: float
    lon: float


def recognises(path: Path) -> bool:
    """Whether a folder holds patches, directly or in `data/`."""
    return path.is_dir() and any(next(place.glob("*_reflectance.tif"), None) for place in (path / "data", path))


def _root(request: Request) -> Path:
    if len(request.paths) != 1:
        raise UserError("a patch-folder needs the path of one folder: data import PATH")
    (path,) = request.paths
    if not recognises(path):
        raise UserError(f"{path} holds no *_reflectance.tif, directly or in data/")
    return path


def _options(request: Request) -> Mapping[str, Any]:
    unknown = next((name for name in request.options if name not in OPTIONS), None)
    if unknown:
        raise UserError(f"a patch folder has no option '{unknown}'; its options are {', '.join(OPTIONS)}")
    return request.options


def version(request: Request) -> str:
    """Return a hash of the files' names, sizes and times of change, the options, the seed and this code."""
    root = _root(request)
    files = sorted(path for pattern in ("*.tif", "data/*.tif", "splits/*.txt") for path in root.glob(pattern))
    stats = [(str(path.relative_to(root)), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    modules = (_HERE, *sorted(_HERE.parent.glob("_patch_*.py")))
    return digest(
        code(*modules), stats, sorted((name, repr(value)) for name, value in _options(request).items()), request.seed
    )


def scan(root: Path) -> Folder:
    """List a patch folder and read its split files.

    Raises:
        UserError: a file of a patch is missing, or a split names what is not there.
    """
    place = next(place for place in (root / "data", root) if next(place.glob("*_reflectance.tif"), None))
    found = {kind: _ids(place, kind) for kind in ("reflectance", "binary", "thermal", "classes")}
    ids = found["reflectance"]
    for kind in ("binary", "thermal", "classes"):
        lacking = sorted(ids - found[kind])
        if lacking and (kind == "binary" or found[kind]):
            raise UserError(f"{lacking[0]}_{kind}.tif is missing from {place}")
        extra = sorted(found[kind] - ids)
        if extra:
            raise UserError(f"{extra[0]}_{kind}.tif has no {extra[0]}_reflectance.tif in {place}")
    parts = read_parts(root / "splits", ids) if (root / "splits").is_dir() else None
    return Folder(place, tuple(sorted(ids)), bool(found["thermal"]), bool(found["classes"]), parts)


def _ids(place: Path, kind: str) -> set[str]:
    return {path.name.removesuffix(f"_{kind}.tif") for path in place.glob(f"*_{kind}.tif")}


def read_parts(folder: Path, ids: set[str]) -> dict[str, list[str]]:
    """Read train.txt, val.txt and test.txt; an entry is an id, or the name of one of its files.

    Raises:
        UserError: a file is missing, or an entry is no patch or comes twice.
    """
    parts: dict[str, list[str]] = {}
    owner: dict[str, str] = {}
    for part in PARTS:
        path = folder / f"{part}.txt"
        if not path.exists():
            raise UserError(f"{path.name} is missing from {folder}")
        parts[part] = []
        for entry in filter(None, map(str.strip, path.read_text().splitlines())):
            patch = _entry_id(path, entry, ids)
            if patch in owner:
                raise UserError(f"{path.name} names '{entry}', which is already in {owner[patch]}")
            owner[patch] = path.name
            parts[part].append(patch)
    return parts


def _entry_id(path: Path, entry: str, ids: set[str]) -> str:
    name = entry.removesuffix(".tif")
    for suffix in ("", *SUFFIXES):
        if name.removesuffix(suffix) in ids:
            return name.removesuffix(suffix)
    raise UserError(f"{path.name} names '{entry}', which is not a patch of {path.parent.parent}")


def read_patch(folder: Folder, patch: str) -> Patch:
    """Read the files of a patch.

    Raises:
        UserError: a file cannot be read, or its size is not that of the reflectance.
    """
    from datasets._patch_tiffs import read_classes, read_mask, read_raster, valid_values

    rasters = [read_raster(folder.path / f"{patch}_reflectance.tif")]
    shape = rasters[0].values.shape[1:]
    if folder.thermal:
        rasters.append(read_raster(folder.path / f"{patch}_thermal.tif"))
        _check_size(f"{patch}_thermal.tif", rasters[1].values[0], shape)
    mask = read_mask(folder.path / f"{patch}_binary.tif")
    _check_size(f"{patch}_binary.tif", mask, shape)
    classes = read_classes(folder.path / f"{patch}_classes.tif") if folder.classes else None
    if classes is not None:
        _check_size(f"{patch}_classes.tif", classes, shape)
    names = tuple(name for raster in rasters for name in raster.descriptions)
    toa = np.concatenate([valid_values(raster) for raster in rasters])
    return Patch(toa, mask, classes, names, rasters[0].lat, rasters[0].lon)


def _check_size(name: str, values: np.ndarray, shape: tuple[int, ...]) -> None:
    if values.shape != shape:
        raise UserError(f"{name} has {values.shape} pixels, and the patch has {shape}")


def make(request: Request, progress: Progress) -> None:
    """Write the patches of a folder as a patch set, and its split.

    Raises:
        UserError: whatever in the folder does not fit the layout or the contract of a patch set.
    """
    root, options = _root(request), _options(request)
    if options.get("split") not in (None, "scene") and not by_date(options["split"]):
        raise UserError(f"option split is 'scene', 'date' or 'date:N' (days apart), not '{options['split']}'")
    folder, pattern = scan(root), compile_pattern(options.get("scene_pattern"))
    names = {patch: read_name(patch, pattern) for patch in folder.ids}
    first = read_patch(folder, folder.ids[0])
    bands = make_bands(first.names, _list(options.get("bands")))
    with PatchWriter(request.store, bands, _attributes(options)) as writer:
        seen: set[int] = set()
        for done, (patch, name) in enumerate(names.items()):
            progress(done, len(names))
            content = read_patch(folder, patch)
            _check_like(content, first, patch, folder.path)
            _append(writer, patch, name, content, float(options.get("scale", 1)), all(n.biome for n in names.values()))
            seen |= set(np.unique(content.classes).tolist()) if content.classes is not None else set()
        if seen and seen <= set(CLASSES):
            writer.legends["classes"] = CLASSES
    progress(len(names), len(names))
    write(_split(request, folder), split_path(request.store))


def _append(writer: PatchWriter, patch: str, name: Name, content: Patch, scale: float, biomes: bool) -> None:
    reflective = [band.quantity == REFLECTANCE for band in writer.bands]
    if scale != 1:
        content.toa[reflective] *= np.float32(scale)
    strata = {"classes": content.classes[None]} if content.classes is not None else {}
    if biomes:
        strata["biome"] = np.array([name.biome])
    where = {"time": name.time, "lat": content.lat, "lon": content.lon}
    writer.append([patch], name.scene, content.toa[None], content.mask[None], strata, **where)


def _check_like(content: Patch, first: Patch, patch: str, place: Path) -> None:
    """Refuse a patch whose size or order of bands is not that of the first."""
    if content.toa.shape != first.toa.shape:
        raise UserError(
            f"{patch}_reflectance.tif in {place} gives {content.toa.shape} (bands, rows, columns), "
            f"and the first patch gives {first.toa.shape}"
        )
    if content.names != first.names:
        raise UserError(f"{patch}_reflectance.tif in {place} has other bands, or another order, than the first patch")


def _split(request: Request, folder: Folder) -> Split:
    unit = request.options.get("split")
    if unit is None and folder.parts is not None:
        return from_parts(request.store, folder.parts)
    return by_group(request.store, unit or "scene", seed=request.seed)


def _attributes(options: Mapping[str, Any]) -> dict[str, Any]:
    attrs: dict[str, Any] = {name: options.get(name, "unknown") for name in ("sensor", "label_source", "licence")}
    label_bands = options.get("label_bands")
    attrs["label_bands"] = None if label_bands is None else [] if label_bands == "none" else _list(label_bands)
    return attrs


def _list(value: str | Sequence[str] | None) -> list[str]:
    return [text.strip() for text in (value.split(",") if isinstance(value, str) else value or ())]


SOURCE = Source(
    name="patch-folder",
    summary="a folder of GeoTIFF patches <id>_reflectance.tif and <id>_binary.tif (needs a path)",
    recognises=recognises,
    version=version,
    make=make,
)
