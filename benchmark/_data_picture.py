"""A gallery of patches: composites with the outlines of their cloud masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmark._composite import composite, kelvin_range
from benchmark.api import CLEAR, CLOUD, IGNORE, UserError
from benchmark.patchset import Arrays
from benchmark.splits import PARTS, Split

PATCHES, COLUMNS = 24, 6


def _chosen(arrays: Arrays, split: Split | None) -> list[tuple[str, int]]:
    """Return (part, position) of at most PATCHES patches, evenly spread over the parts."""
    parts = {part: split.parts[part] for part in PARTS} if split else {"": arrays.ids}
    every = [(part, int(row)) for part, ids in parts.items() for row in arrays.positions(ids)]
    return [every[place] for place in np.unique(np.linspace(0, len(every) - 1, PATCHES).astype(int))]


def draw(arrays: Arrays, split: Split | None, path: Path) -> None:
    """Write the gallery of a patch set.

    Raises:
        UserError: the file's ending is no format of pictures, or it cannot be written.
    """
    from matplotlib.figure import Figure

    chosen = _chosen(arrays, split)
    columns = min(COLUMNS, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = Figure(figsize=(2.3 * columns, 2.6 * rows + 0.4), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in panels:
        panel.set_axis_off()
    kelvin = kelvin_range([arrays.toa[row] for _, row in chosen], arrays.bands)
    for panel, (part, row) in zip(panels, chosen, strict=False):
        _panel(panel, arrays, part, row, kelvin)
    figure.suptitle("yellow: outline of the cloud mask; red: ignored pixels; magenta: invalid pixels", fontsize=8)
    try:
        figure.savefig(path, dpi=130)
    except (OSError, ValueError) as error:
        raise UserError(f"picture {path} cannot be written: {error}") from None


def _panel(panel: Any, arrays: Arrays, part: str, row: int, kelvin: tuple[float, float]) -> None:
    mask, toa = np.asarray(arrays.mask[row]), arrays.toa[row]
    picture = composite(toa, arrays.bands, kelvin)
    picture[np.isnan(toa).any(axis=0)] = (255, 0, 255)
    panel.imshow(picture, interpolation="nearest")
    ignored = mask == IGNORE
    if ignored.any():
        panel.imshow(np.ma.masked_where(~ignored, np.ones(mask.shape)), cmap="autumn_r", alpha=0.3, vmin=0, vmax=1)
    cloud = mask == CLOUD
    if cloud.any() and not cloud.all():
        panel.contour(cloud, levels=[0.5], colors="yellow", linewidths=0.7)
    share = cloud.sum() / (cloud.sum() + (mask == CLEAR).sum())
    panel.set_title(f"{arrays.ids[row]}\n{part} cloud {share:.0%}", fontsize=7)
