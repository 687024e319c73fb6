"""Truth and pictures of the test part, kept once per split, so that views need neither data set nor inference."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmark.api import Part
from benchmark.record import write_json

# Snow and ice cloud are dark in SWIR and turn cyan, water cloud stays white, land is green, sea is black.
FALSE_COLOUR = ("SWIR_1", "NIR_NARROW", "RED")
REFLECTANCE_RANGE, KELVIN_RANGE = (0.0, 0.8), (200.0, 310.0)


def keep(test: Part, patches: tuple[str, ...], folder: Path) -> None:
    """Write mask.npy (n, y, x) uint8, composite.npy (n, y, x, 3) uint8 and, last, meta.json; once per folder.

    Args:
        test: the test part with every band of the data set.
        patches: its patch ids.
        folder: `<out>/truth/<split hash>`.
    """
    if (folder / "meta.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    save_array(folder / "mask.npy", test.masks())
    save_array(folder / "composite.npy", np.stack([composite(test, place) for place in range(len(test))]))
    write_json(folder / "meta.json", {"patches": list(patches), "scenes": list(test.scenes)})


def composite(part: Part, place: int) -> np.ndarray:
    """Return a picture of one patch, (y, x, 3) uint8: false colour, or inverted brightness temperature without it."""
    image = part.images.read(slice(place, place + 1))[0]
    channels = [part.images.role(role) for role in FALSE_COLOUR]
    if None not in channels:
        low, high = REFLECTANCE_RANGE
        chosen = np.moveaxis(image[channels], 0, -1)
    else:
        thermal = part.images.role("BT_11", "BT_12", "BT_37")
        high, low = KELVIN_RANGE if thermal is not None else REFLECTANCE_RANGE[::-1]
        chosen = np.repeat(image[thermal or 0][..., None], 3, axis=-1)
    scaled = np.clip((chosen - low) / (high - low), 0, 1)
    return (np.nan_to_num(scaled) ** 0.7 * 255).astype(np.uint8)


def save_array(path: Path, values: np.ndarray) -> None:
    """Write a .npy file to a temporary name and rename it."""
    temporary = path.with_suffix(".partial")
    with temporary.open("wb") as stream:
        np.save(stream, values)
    temporary.replace(path)
