"""The archive of the EUMETSAT Prithvi study: a ZIP or a folder with one folder of GeoTIFF patches per date.

Each date's folder holds `<timestamp>_<index>_<size>_reflectance.tif` (six bands, float32) and `..._binary.tif`.

Labels: 0 is clear-sky ocean and 1 everything else, land among it. A model that finds land does well on them, so they
are no cloud mask, and land and sea must be looked at apart.

Bands (option `mapping`): by its code the study wrote S2 S2 S3 S5 S5 S6 (`accidental`, the default); its README says
that S1 S1 S2 S3 S5 S6 were meant (`readme`), its slides OLCI Oa04 and S1 S2 S3 S5 S6 (`slides`). Each band is kept once
under its own name; a band that the mapping has twice must be the same twice.

Split: as described by the study, whose code is not at hand. The folders' paths, sorted, are shuffled by Python's
`random.Random(43)`; the first int(0.70 n) train, the next int(0.15 n) are val, the rest test.

Option `rebalance=study` deletes patches as the study did, in all three parts ("balance by capping", 0.5), read as: of a
part, the patches are binned by their share of label 1 into ten bins, and no bin keeps more than half as many as the
fullest had; which ones stay is drawn. The shares of the classes, the test's too, are artificial from then on.

Other options: `scale` (factor that makes reflectance a fraction), `scene_pattern` (as for a patch folder).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.api import CLOUD, IGNORE, REFLECTANCE, ROLES, Band, UserError, code, digest
from benchmark.patchset import PatchWriter
from benchmark.sources import Progress, Request, Source
from benchmark.splits import PARTS, from_parts, split_path, write
from datasets import _study_archive
from datasets._patch_names import Name, compile_pattern, read_name
from datasets._study_archive import Fetch

MAPPINGS = {
    "accidental": ("S2", "S2", "S3", "S5", "S5", "S6"),
    "readme": ("S1", "S1", "S2", "S3", "S5", "S6"),
    "slides": ("Oa04", "S1", "S2", "S3", "S5", "S6"),
}
_ROLES = {"Oa04": "BLUE", "S1": "GREEN", "S2": "RED", "S3": "NIR_NARROW", "S5": "SWIR_1", "S6": "SWIR_2"}
# Oa04 is centred on 490 nm (OLCI band table, from memory).
BANDS = {name: Band(name, role, 0.490 if name == "Oa04" else ROLES[role], REFLECTANCE) for name, role in _ROLES.items()}
REBALANCE = ("off", "study")
OPTIONS = ("mapping", "rebalance", "scale", "scene_pattern")

SEED, FRACTIONS = 43, (0.70, 0.15)
FEWEST = 7  # folders of which each part gets one
BINS, CAP = 10, 0.5

_HERE = Path(__file__)


@dataclass(frozen=True)
class Archive:
    """What a request asks of an archive.

    Attributes:
        path: the ZIP or folder.
        folder_of: folder of each patch, in the order of folders, then patches.
        mapping: names of the files' bands.
        rebalanced: whether to delete patches as the study did.
        scale: factor that makes reflectance a fraction.
        names: scene and time of each patch.
    """

    path: Path
    folder_of: dict[str, str]
    mapping: tuple[str, ...]
    rebalanced: bool
    scale: float
    names: dict[str, Name]

    def file(self, patch: str, kind: str) -> str:
        """Return the name of a patch's file in the archive."""
        return f"{self.folder_of[patch]}/{patch}_{kind}.tif"


def recognises(path: Path) -> bool:
    """Whether a path is a ZIP, or a folder of folders, with patches; one with patches in `data/` is a patch folder."""
    if path.is_dir():
        nearer = any(next(place.glob("*_reflectance.tif"), None) for place in (path, path / "data"))
        return not nearer and next(path.glob("*/*_reflectance.tif"), None) is not None
    return path.suffix.lower() == ".zip" and path.is_file() and _study_archive.holds(path, "_reflectance.tif")


def read_archive(request: Request) -> Archive:
    """List an archive and settle what is asked of it; no pixel is read.

    Raises:
        UserError: a wrong path or option, a patch that lacks a file or a folder, or a name that follows no rule.
    """
    if len(request.paths) != 1:
        raise UserError("the study needs the path of its archive, a ZIP or a folder: data import study PATH")
    (path,) = request.paths
    if not path.exists():
        raise UserError(f"there is nothing at {path}")
    options = _options(request.options)
    folder_of = _folder_of(path)
    pattern = compile_pattern(options.get("scene_pattern"))
    names = {patch: read_name(patch, pattern) for patch in folder_of}
    mapping = MAPPINGS[options.get("mapping", "accidental")]
    rebalanced, scale = options.get("rebalance") == "study", float(options.get("scale", 1))
    return Archive(path, folder_of, mapping, rebalanced, scale, names)


def _options(options: Mapping[str, Any]) -> Mapping[str, Any]:
    unknown = next((name for name in options if name not in OPTIONS), None)
    if unknown:
        raise UserError(f"the study has no option '{unknown}'; its options are {', '.join(OPTIONS)}")
    for name, known in (("mapping", tuple(MAPPINGS)), ("rebalance", REBALANCE)):
        if options.get(name, known[0]) not in known:
            raise UserError(f"option {name} is one of {', '.join(known)}, not '{options[name]}'")
    return options


def _folder_of(path: Path) -> dict[str, str]:
    """Return the folder of each patch; a patch has both files, and no other patch has its id."""
    names = _study_archive.names(path)
    reflectance: dict[str, str] = {}
    binary: dict[str, str] = {}
    for kind, folder_of in (("reflectance", reflectance), ("binary", binary)):
        for name in names:
            folder, _, file = name.rpartition("/")
            patch = file.removesuffix(f"_{kind}.tif")
            if patch == file:
                continue
            if patch in folder_of:
                raise UserError(f"{file} is in {folder_of[patch]} and in {folder} of {path}")
            folder_of[patch] = folder
    _check_files(path, reflectance, binary)
    return dict(sorted(reflectance.items(), key=lambda item: (item[1], item[0])))


def _check_files(path: Path, reflectance: Mapping[str, str], binary: Mapping[str, str]) -> None:
    if not reflectance:
        raise UserError(f"{path} holds no *_reflectance.tif")
    for patch, folder in reflectance.items():
        if not folder:
            raise UserError(f"{patch}_reflectance.tif lies in no folder of {path}; the split is by folders")
        if binary.get(patch) != folder:
            raise UserError(f"{patch}_binary.tif is missing from {folder} of {path}")
    extra = next((patch for patch in binary if patch not in reflectance), None)
    if extra:
        raise UserError(f"{extra}_binary.tif has no {extra}_reflectance.tif in {path}")


def parts_of(folder_of: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the patch ids of each part, by whole folders, as the study describes its split.

    Raises:
        UserError: too few folders.
    """
    order = sorted(set(folder_of.values()))
    if len(order) < FEWEST:
        raise UserError(f"the archive has {len(order)} folders of patches; the study's split needs {FEWEST}")
    random.Random(SEED).shuffle(order)
    train, val = (int(fraction * len(order)) for fraction in FRACTIONS)
    part_of = dict(zip(order, np.repeat(PARTS, (train, val, len(order) - train - val)).tolist(), strict=True))
    return {part: [patch for patch, folder in folder_of.items() if part_of[folder] == part] for part in PARTS}


def capped(shares: Mapping[str, float], generator: random.Random) -> list[str]:
    """Return the patches of a part that stay: of each bin of shares in [0, 1] at most half of the fullest bin."""
    bins: dict[int, list[str]] = {}
    for patch, share in shares.items():
        bins.setdefault(min(int(share * BINS), BINS - 1), []).append(patch)
    most = max(1, int(CAP * max(map(len, bins.values()), default=0)))
    return [patch for place in sorted(bins) for patch in generator.sample(bins[place], min(most, len(bins[place])))]


def version(request: Request) -> str:
    """Return a hash of the files' names, sizes and times of change, the options and this code."""
    archive = read_archive(request)
    path = archive.path
    files = [path / name for name in _study_archive.names(path)] if path.is_dir() else [path]
    stats = [(file.relative_to(path.parent).as_posix(), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    modules = [_HERE, *(_HERE.parent / f"_{name}.py" for name in ("study_archive", "patch_names", "patch_tiffs"))]
    return digest(code(*modules), stats, archive.mapping, archive.rebalanced, archive.scale, repr(archive.names))


def make(request: Request, progress: Progress) -> None:
    """Write the archive's patches as a patch set, and the study's split.

    Raises:
        UserError: whatever in the archive does not fit its layout or the contract of a patch set.
    """
    archive = read_archive(request)
    parts = parts_of(archive.folder_of)
    bands = [BANDS[name] for name in dict.fromkeys(archive.mapping)]
    with _study_archive.opened(archive.path) as fetch, PatchWriter(request.store, bands, _attributes(archive)) as out:
        if archive.rebalanced:
            parts = _rebalanced(archive, parts, fetch)
        patches = [patch for part in PARTS for patch in parts[part]]
        for done, patch in enumerate(patches):
            progress(done, len(patches))
            _append(out, archive, patch, fetch)
        progress(len(patches), len(patches))
    write(from_parts(request.store, parts, "date"), split_path(request.store))


def _rebalanced(archive: Archive, parts: Mapping[str, list[str]], fetch: Fetch) -> dict[str, list[str]]:
    """Return the patches of each part that the study would have kept."""
    from datasets._patch_tiffs import read_mask

    generator = random.Random(SEED)
    kept: dict[str, list[str]] = {}
    for part in PARTS:
        shares = {}
        for patch in parts[part]:
            mask = read_mask(fetch(archive.file(patch, "binary")))
            shares[patch] = float(np.sum(mask == CLOUD) / max(1, np.sum(mask != IGNORE)))
        kept[part] = capped(shares, generator)
    return kept


def _append(writer: PatchWriter, archive: Archive, patch: str, fetch: Fetch) -> None:
    """Read the two files of a patch and write each band once."""
    from datasets._patch_tiffs import read_mask, read_raster, valid_values

    raster = read_raster(fetch(archive.file(patch, "reflectance")))
    toa = valid_values(raster)
    if len(toa) != len(archive.mapping):
        raise UserError(f"{patch}_reflectance.tif has {len(toa)} bands, and the study's have {len(archive.mapping)}")
    toa = _once(patch, toa, archive.mapping) * np.float32(archive.scale)
    mask = read_mask(fetch(archive.file(patch, "binary")))
    if mask.shape != toa.shape[1:]:
        raise UserError(f"{patch}_binary.tif has {mask.shape} pixels, and the patch has {toa.shape[1:]}")
    name = archive.names[patch]
    writer.append([patch], name.scene, toa[None], mask[None], time=name.time, lat=raster.lat, lon=raster.lon)


def _once(patch: str, toa: np.ndarray, mapping: tuple[str, ...]) -> np.ndarray:
    """Return each band of the mapping once; the two copies of a band must be equal."""
    first = [mapping.index(name) for name in mapping]
    for place, other in enumerate(first):
        if not np.array_equal(toa[place], toa[other], equal_nan=True):
            raise UserError(
                f"bands {other + 1} and {place + 1} of {patch}_reflectance.tif differ, and both would be "
                f"{mapping[place]}; the files hold other bands, see option mapping"
            )
    return toa[sorted(set(first))]


def _attributes(archive: Archive) -> dict[str, Any]:
    note = "; patches deleted by the share of their labels, so the shares of the classes are artificial"
    label = "study: clear-sky ocean (0) against everything else (1); not a cloud mask"
    return {
        "sensor": "SLSTR and OLCI" if "Oa04" in archive.mapping else "SLSTR",
        "label_source": label + note * archive.rebalanced,
        "label_bands": None,
        "licence": "unknown; the mask that the labels derive from is not redistributable",
        "file_bands": list(archive.mapping),
        "rebalanced": archive.rebalanced,
    }


SOURCE = Source(
    name="study",
    summary="the EUMETSAT Prithvi study's archive, clear-sky ocean against all else (needs a path)",
    recognises=recognises,
    version=version,
    make=make,
)
