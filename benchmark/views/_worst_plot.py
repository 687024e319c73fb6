"""The picture of a card: the patches that a row does worst on, each as picture, truth, mask and errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle

from benchmark.api import CLOUD, IGNORE
from benchmark.views.gallery import COLOURS, tile
from benchmark.views.plots import canvas

TITLES = ("picture", "truth", "mask", "errors")
_BLOCKS = 2  # beside each other
_GAP, _STRIP = 0.05, 0.2  # of a tile: between tiles, and the line of text above them
_BLOCK = len(TITLES) * (1 + _GAP) + 0.25
_INCH = 1.05  # width of a tile


@dataclass(frozen=True)
class Sample:
    """A patch: text above it, picture (y, x, 3) uint8, truth (y, x) uint8, predicted cloud (y, x) bool."""

    text: str
    composite: np.ndarray
    mask: np.ndarray
    cloud: np.ndarray

    def tiles(self) -> list[np.ndarray]:
        """Return the pictures (y, x, 3) uint8 of TITLES."""
        predicted = tile(self.cloud, np.where(self.mask == IGNORE, IGNORE, self.cloud))
        return [self.composite, tile(self.mask == CLOUD, self.mask), predicted, tile(self.cloud, self.mask)]


def draw(samples: Sequence[Sample], path: Path) -> Path:
    """Draw patches in two blocks, down the first one first; one pair of axes holds all tiles, for speed."""
    rows = -(-len(samples) // _BLOCKS)
    height = rows * (1 + _STRIP + _GAP) + _STRIP
    with canvas(path, height * _INCH + 0.4, width=_BLOCKS * _BLOCK * _INCH) as figure:
        axes = figure.subplots()
        axes.axis("off")
        for place, sample in enumerate(samples):
            top = place % rows * (1 + _STRIP + _GAP) + _STRIP
            _row(axes, sample, place // rows * _BLOCK, top, heads=place % rows == 0)
        # Each picture moves the limits to its own.
        axes.set(xlim=(-_GAP, _BLOCKS * _BLOCK - 0.2), ylim=(height - _STRIP, -_STRIP))
        handles = [Patch(facecolor=f"#{bytes(rgb).hex()}", edgecolor="#909090", label=k) for k, rgb in COLOURS.items()]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=9, frameon=False)
    return path


def _row(axes: Axes, sample: Sample, left: float, top: float, heads: bool) -> None:
    """Draw one patch, with the titles of its block if it is the first of it."""
    axes.text(left, top - 0.04, sample.text, fontsize=8, va="bottom")
    for column, (title, picture) in enumerate(zip(TITLES, sample.tiles(), strict=True)):
        start = left + column * (1 + _GAP)
        axes.imshow(picture, extent=(start, start + 1, top + 1, top))
        axes.add_patch(Rectangle((start, top), 1, 1, fill=False, edgecolor="#909090", linewidth=0.6))
        if heads:
            axes.text(start + 0.5, -0.02, title, fontsize=9, ha="center", va="bottom")
