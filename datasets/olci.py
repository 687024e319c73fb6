"""OLCI level-1B products of Sentinel-3, full (300 m) and reduced (1.2 km) resolution."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.api import REFLECTANCE, Band
from datasets import _satpy_sensors

if TYPE_CHECKING:
    from datasets._satpy_reading import Reading

_ROLES = {"Oa04": "BLUE", "Oa06": "GREEN", "Oa08": "RED", "Oa17": "NIR_NARROW"}
# Nominal band centres in um as satpy's reader lists them, Oa01 to Oa21.
_CENTRES = (
    *(0.4, 0.4125, 0.4425, 0.49, 0.51, 0.56, 0.62, 0.665, 0.67375, 0.68125, 0.70875),
    *(0.75375, 0.76125, 0.764375, 0.7675, 0.77875, 0.865, 0.885, 0.9, 0.94, 1.02),
)
_NAMES = tuple(f"Oa{number:02}" for number in range(1, 22))
BANDS = tuple(
    Band(name, _ROLES.get(name, name), centre, REFLECTANCE) for name, centre in zip(_NAMES, _CENTRES, strict=True)
)


def is_product(path: Path) -> bool:
    """Whether a path is the folder of a product."""
    return fnmatchcase(path.name, "*OL_1_E[FR]R*.SEN3") and path.is_dir()


def _read(product: Path, bands: Sequence[Band]) -> Reading:
    from datasets import _olci_product

    return _olci_product.read(product, bands)


SENSOR = _satpy_sensors.Sensor(
    name="olci",
    summary="Sentinel-3 OLCI level-1B products, bands Oa01..Oa21 (needs paths, and mask files: --label file:TEMPLATE)",
    instrument="OLCI",
    licence="Copernicus Sentinel data: free and open, attribution required",
    bands=BANDS,
    is_product=is_product,
    read=_read,
)
SOURCE = _satpy_sensors.source(SENSOR)
