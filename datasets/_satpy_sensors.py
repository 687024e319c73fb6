"""Instruments other than SLSTR whose level-1 products satpy reads: bands, files, and how they become a source.

None of these products carries a cloud mask, so the label of a patch set comes from files beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.api import ROLES, Band, UserError
from benchmark.sources import Progress, Request, Source
from datasets import _granules, _mask_files

if TYPE_CHECKING:
    import xarray as xr

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Sensor:
    """What sets the products of one instrument apart.

    Attributes:
        name: of the source.
        summary: one line for `list`.
        instrument: what granules and patch sets call it.
        licence: of the products.
        bands: band table; satpy calls a band by the same name.
        is_product: whether a path is one product.
        read: (product, bands) -> what satpy and the product's own files say, a `_satpy_reading.Reading`.
    """

    name: str
    summary: str
    instrument: str
    licence: str
    bands: tuple[Band, ...]
    is_product: Callable[[Path], bool]
    read: Callable[[Path, Sequence[Band]], Any]


def choose(sensor: Sensor, wanted: Sequence[str]) -> tuple[Band, ...]:
    """Return bands by name or role; none stands for those that share a role with other instruments.

    Raises:
        UserError: the instrument has no such band.
    """
    if not wanted:
        return tuple(band for band in sensor.bands if band.role in ROLES)
    known = {band.role: band for band in sensor.bands} | {band.name: band for band in sensor.bands}
    unknown = next((name for name in wanted if name not in known), None)
    if unknown is not None:
        names = ", ".join(
            band.name if band.role == band.name else f"{band.name} ({band.role})" for band in sensor.bands
        )
        raise UserError(f"{sensor.instrument} has no band '{unknown}'; bands are {names}")
    return tuple(dict.fromkeys(known[name] for name in wanted))


def open_(sensor: Sensor, product: Path, bands: Sequence[str], options: Mapping[str, Any]) -> xr.Dataset:
    """Open a product as a granule, see `benchmark.granule`.

    Args:
        sensor: the instrument.
        product: path of the product.
        bands: names or roles.
        options: `label` as in `file:TEMPLATE`, see `datasets._mask_files`; without it the granule has no mask.

    Raises:
        UserError: what is needed of the product is missing or damaged, or an option is none of this instrument.
    """
    from datasets import _satpy_reading

    unknown = next((name for name in options if name != "label"), None)
    if unknown:
        raise UserError(f"{sensor.instrument} products have no option '{unknown}'; the only one is label")
    label = str(options.get("label", ""))
    if label and not label.startswith(_mask_files.PREFIX):
        raise UserError(f"{sensor.instrument} products hold no cloud mask '{label}'; the label is file:TEMPLATE")
    if not sensor.is_product(product):
        raise UserError(f"{product} is no {sensor.instrument} product" if product.exists() else f"no file {product}")
    chosen = choose(sensor, bands)
    reading = sensor.read(product, chosen)
    ds = _satpy_reading.granule(chosen, reading, sensor=sensor.instrument, licence=sensor.licence)
    return _mask_files.add(ds, product, label) if label else ds


def source(sensor: Sensor) -> Source:
    """Return the data source of an instrument."""

    def recognises(path: Path) -> bool:
        return sensor.is_product(path) or (path.is_dir() and any(map(sensor.is_product, path.iterdir())))

    def version(request: Request) -> str:
        code = (
            f"{sensor.name}.py",
            f"_{sensor.name}_*.py",
            "_satpy_*.py",
            "_granule*.py",
            "_map_grid.py",
            "_mask_*.py",
        )
        files = [path for pattern in code for path in sorted(_FOLDER.glob(pattern))]
        return _granules.version(request, _granules.products(request.paths, sensor.is_product), files)

    def make(request: Request, progress: Progress) -> None:
        if not request.options.get("label"):
            raise UserError(
                f"{sensor.instrument} products hold no cloud mask; name mask files with --label file:TEMPLATE"
            )
        if "view" in request.options:
            raise UserError(f"{sensor.instrument} has a single view, so there is no option 'view'")
        bands = _granules.names(request.options.get("bands"))
        label = {"label": request.options["label"]}
        products = _granules.products(request.paths, sensor.is_product)
        opened = partial(open_, sensor, bands=bands, options=label)
        _granules.make(request, products, opened, progress, version(request))

    return Source(
        name=sensor.name,
        summary=sensor.summary,
        recognises=recognises,
        version=version,
        make=make,
        open=lambda product, bands, options: open_(sensor, product, bands, options),
        spreads=True,
    )
