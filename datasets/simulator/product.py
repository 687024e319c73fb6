"""Simulated SLSTR frames as level-1B products, their exact truth beside them.

Results on simulated scenes rank methods on known physics; they are not SLSTR accuracy. What is simplified is said in
`product_geometry` (places and angles), `product_flags` (the cloud tests) and `sen3_files` (what is left out). One frame
is one regime under one sun. The pixels that the simulator fills with copies are the cosmetic ones; measurements that
belong to some of them fell into the neighbour's pixel, which becomes a duplicate, and lie in the orphan arrays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmark.api import UserError
from datasets.simulator import product_flags, scene, tables
from datasets.simulator.product_frame import Frame, draw
from datasets.simulator.product_render import Measured, render
from datasets.simulator.sen3_files import File, files
from datasets.simulator.sen3_manifest import Entry, manifest
from datasets.simulator.sen3_write import Variable, write

_YES = ("no", "yes")
LEGENDS = {
    "surface": tables.SURFACE_NAMES,
    "land": ("water", "land"),
    "phase": ("clear", "liquid", "ice", "mixed"),
    **dict.fromkeys(scene.FLAGS, _YES),
}
UNITS = {"optical_depth": "1", "cloud_fraction": "1", "top_height": "km", "view_zenith": "degree"}
# What the manifest counts, and the confidence flag that it is.
COUNTED = {
    "salineWaterPixels": "ocean",
    "landPixels": "land",
    "coastalPixels": "coastline",
    "freshInlandWaterPixels": "inland_water",
    "cloudyPixels": "summary_cloud",
}


def simulate(folder: Path, rows: int, columns: int, seed: int) -> Path:
    """Simulate one frame and write it as a product, with `<name without .SEN3>.truth.nc` beside it.

    Args:
        folder: that the product's folder is put into.
        rows: of the 500 m grid, even, at most 2400.
        columns: likewise, at most 3000: a window of the nadir swath.
        seed: everything random, the place and time included, follows from it and the size.

    Returns:
        The product's folder.

    Raises:
        UserError: the size is impossible, or the product is already there.
    """
    frame = draw(rows, columns, seed)
    product, truth = folder / frame.name, folder / f"{frame.name.removesuffix('.SEN3')}.truth.nc"
    if product.exists():
        raise UserError(f"{product} is already there")
    folder.mkdir(parents=True, exist_ok=True)
    measured = render(frame)
    with TemporaryDirectory(prefix=".simulated-", dir=folder) as hidden:
        partial, facts = Path(hidden) / product.name, Path(hidden) / truth.name
        partial.mkdir()
        _write_truth(facts, frame, measured)
        _write_product(partial, frame, measured)
        facts.replace(truth)
        partial.replace(product)
    return product


def _write_product(folder: Path, frame: Frame, measured: Measured) -> None:
    entries, shares = [], {}
    for file in files(frame, measured):
        path = folder / file.name
        write(path, file.attrs, file.variables)
        entries.append(Entry(file.name, file.summary, path.stat().st_size, _md5(path)))
        if file.name in ("flags_in.nc", "flags_an.nc"):
            shares["1 km" if file.name == "flags_in.nc" else "0.5 km stripe A"] = _shares(file)
    (folder / "xfdumanifest.xml").write_bytes(manifest(frame, sorted(entries, key=lambda e: e.name), shares))


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _shares(file: File) -> dict[str, float]:
    """Return percentages of flagged pixels."""
    trust = next(variable.values for variable in file.variables if variable.name.startswith("confidence_"))
    names = product_flags.CONFIDENCE.split()
    return {key: 100 * float((trust >> names.index(flag) & 1).mean()) for key, flag in COUNTED.items()}


def _write_truth(path: Path, frame: Frame, measured: Measured) -> None:
    attrs = {
        "Conventions": "CF-1.10",
        "title": "Exact truth of a simulated SLSTR product, on its 500 m nadir grid",
        "source": "simulation",
        "history": f"simulated with seed {frame.seed}, regime {frame.regime.name}",
        "product_name": frame.name,
        "licence": "Apache-2.0",
        "label_source": "simulated truth: at least half of the pixel has a cloud optical depth above 0.3, in view "
        "geometry",
        "label_bands": "",
    }
    mask = _classes("mask", measured.mask, {0: "clear", 1: "cloud", 255: "outside_swath"})
    write(path, attrs, [mask, *(_stratum(name, values) for name, values in measured.strata.items())])


def _stratum(name: str, values: np.ndarray) -> Variable:
    if name in LEGENDS:
        return _classes(name, values, dict(enumerate(LEGENDS[name])))
    return Variable(name, ("y", "x"), values, {"long_name": name.replace("_", " "), "units": UNITS[name]})


def _classes(name: str, values: np.ndarray, legend: Mapping[int, str]) -> Variable:
    attrs = {
        "long_name": name.replace("_", " "),
        "flag_values": np.array(list(legend), np.uint8),
        "flag_meanings": " ".join(legend.values()),
    }
    return Variable(name, ("y", "x"), values, attrs)
