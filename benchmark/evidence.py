"""Truth and pictures of the test part, kept once per split, so that views need neither data set nor inference."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmark._composite import composite, kelvin_range
from benchmark.api import Part
from benchmark.record import write_json


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
    images = [test.images.toa[row] for row in test.images.index]
    kelvin = kelvin_range(images, test.images.bands)
    save_array(folder / "composite.npy", np.stack([composite(toa, test.images.bands, kelvin) for toa in images]))
    write_json(folder / "meta.json", {"patches": list(patches), "scenes": list(test.scenes)})


def save_array(path: Path, values: np.ndarray) -> None:
    """Write a .npy file to a temporary name and rename it."""
    temporary = path.with_suffix(".partial")
    with temporary.open("wb") as stream:
        np.save(stream, values)
    temporary.replace(path)
