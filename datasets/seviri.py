"""SEVIRI level-1.5 images of Meteosat-8 to -11: native files, or folders with the HRIT files of one time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.api import BRIGHTNESS_TEMPERATURE, REFLECTANCE, Band
from datasets import _satpy_sensors

if TYPE_CHECKING:
    from datasets._satpy_reading import Reading

# Nominal band centres in um as satpy's readers list them; HRV is left out, since it has a grid of its own.
BANDS = (
    Band("VIS006", "RED", 0.635, REFLECTANCE),
    Band("VIS008", "NIR_NARROW", 0.81, REFLECTANCE),
    Band("IR_016", "SWIR_1", 1.64, REFLECTANCE),
    Band("IR_039", "BT_37", 3.92, BRIGHTNESS_TEMPERATURE),
    Band("WV_062", "WV_062", 6.25, BRIGHTNESS_TEMPERATURE),
    Band("WV_073", "WV_073", 7.35, BRIGHTNESS_TEMPERATURE),
    Band("IR_087", "IR_087", 8.7, BRIGHTNESS_TEMPERATURE),
    Band("IR_097", "IR_097", 9.66, BRIGHTNESS_TEMPERATURE),
    Band("IR_108", "BT_11", 10.8, BRIGHTNESS_TEMPERATURE),
    Band("IR_120", "BT_12", 12.0, BRIGHTNESS_TEMPERATURE),
    Band("IR_134", "IR_134", 13.4, BRIGHTNESS_TEMPERATURE),
)


def is_product(path: Path) -> bool:
    """Whether a path is a native file, or a folder with HRIT files."""
    if path.is_dir():
        return next(path.glob("[HL]-000-MSG*"), None) is not None
    return path.suffix == ".nat" and path.is_file()


def _read(product: Path, bands: Sequence[Band]) -> Reading:
    from datasets import _seviri_product

    return _seviri_product.read(product, bands)


SENSOR = _satpy_sensors.Sensor(
    name="seviri",
    summary="Meteosat SEVIRI level-1.5 images, native or HRIT (needs paths, and mask files: --label file:TEMPLATE)",
    instrument="SEVIRI",
    licence="EUMETSAT data policy, with attribution",
    bands=BANDS,
    is_product=is_product,
    read=_read,
)
SOURCE = _satpy_sensors.source(SENSOR)
