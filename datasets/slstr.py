"""Sentinel-3 SLSTR level-1B products (SL_1_RBT): whole frames become patches with the label that is asked for.

Options of `make` are those of `datasets._granules`; `bands` defaults to S1 to S9, `view` is nadir (the default) or
oblique, and the labels are those of `datasets._slstr_labels`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.api import UserError
from benchmark.sources import Progress, Request, Search, Source
from datasets import _granules

if TYPE_CHECKING:
    import xarray as xr

_HERE = Path(__file__)
_CODE = ("_granule*.py", "_map_grid.py", "_mask_files.py", "_slstr_*.py")


def is_product(path: Path) -> bool:
    """Whether a path looks like an SLSTR level-1B product, also under a name that the reader will refuse."""
    named = path.suffix == ".SEN3" and path.is_dir()
    return named and ("SL_1_RBT" in path.name or (path / "S8_BT_in.nc").exists())


def recognises(path: Path) -> bool:
    """Whether a path is such a product, or a folder that holds one."""
    return is_product(path) or (path.is_dir() and any(map(is_product, path.iterdir())))


def version(request: Request) -> str:
    """Return a hash of the products' files, the options and this code."""
    files = [_HERE, *(file for pattern in _CODE for file in sorted(_HERE.parent.glob(pattern)))]
    return _granules.version(request, _granules.products(request.paths, is_product), files)


def make(request: Request, progress: Progress) -> None:
    """Write the patches of the products, and their split.

    Raises:
        UserError: what the products, the label or the options do not allow.
    """
    from datasets._slstr_labels import DEFAULT

    options = {"label": DEFAULT, **request.options}
    found = _granules.products(request.paths, is_product)
    bands = _granules.names(options.get("bands"))
    opened = partial(_open, bands=bands, options=options)
    _granules.make(request, found, opened, progress, version(request))


def open_(product: Path, bands: Sequence[str], options: Mapping[str, Any]) -> xr.Dataset:
    """Return a product as a granule.

    Args:
        product: the .SEN3 folder.
        bands: names or roles; none stands for S1 to S9.
        options: `view`, and `label` where a mask is wanted.

    Raises:
        UserError: the product, a band or the label cannot be had.
    """
    unknown = next((name for name in options if name not in ("view", "label")), None)
    if unknown:
        raise UserError(f"an SLSTR product has no option '{unknown}'; options are view, label")
    return _open(product, bands, options)


def _open(product: Path, bands: Sequence[str], options: Mapping[str, Any]) -> xr.Dataset:
    from datasets import _slstr_labels, _slstr_reader

    ds = _slstr_reader.granule(product, bands, options.get("view", "nadir"))
    return _slstr_labels.add(ds, product, options["label"]) if "label" in options else ds


def check(path: Path) -> str:
    """Compare names, sizes and checksums of a product, or of a folder of them, with what they should be.

    Files may be absent, for a partial product is one too; those that the reader needs are named.

    Raises:
        UserError: the first fault; a product without a measurement is one.
    """
    from datasets import _slstr_names

    found = _granules.products([path], is_product)
    for product in found:
        _slstr_names.parse(product.name)
    return "; ".join(map(_checked, found))


def _checked(product: Path) -> str:
    """Return how many files of a product's manifest are there, and which of the needed ones are not."""
    from datasets import _slstr_manifest as manifest

    present = manifest.verify(product)
    listed = manifest.read_manifest((product / manifest.MANIFEST).read_bytes(), product.name)
    if not any((product / name).exists() for name in listed if "_radiance_" in name or "_BT_" in name):
        raise UserError(f"{product.name} holds no measurement: each *_radiance_*.nc and *_BT_*.nc is absent")
    said = f"{product.name}: {present} of {len(listed)} files are there, all as the manifest says"
    absent = [name for name in manifest.wanted(listed, "needed") if not (product / name).exists()]
    return f"{said}; absent and needed: {', '.join(absent)} (partial product)" if absent else said


def fetch(search: Search, say: Callable[[str], None], progress: Progress) -> int:
    """Download products from the EUMETSAT Data Store; returns how many are there now."""
    from datasets import _slstr_fetch

    return _slstr_fetch.fetch(search, say, progress)


def simulate(folder: Path, rows: int, columns: int, seed: int) -> Path:
    """Write a simulated product into a folder, with its truth beside it, and return its path."""
    from datasets.simulator import product

    return product.simulate(folder, rows, columns, seed)


SOURCE = Source(
    name="slstr",
    summary="Sentinel-3 SLSTR level-1B products, SL_1_RBT (needs the path of one or of a folder of them)",
    recognises=recognises,
    version=version,
    make=make,
    open=open_,
    fetch=fetch,
    simulate=simulate,
    check=check,
    spreads=True,
)
