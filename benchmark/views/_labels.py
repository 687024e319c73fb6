"""Names of points in scatter plots: beside them, none over another, or as numbers with a legend."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def name_points(axes: Axes, points: Sequence[tuple[str, float, float]]) -> None:
    """Write each point's name at the nearest free place beside it, with a line to the point where that is far."""
    from matplotlib.text import Text

    drawn = np.concatenate([np.asarray(line.get_xydata()) for line in axes.lines] or [np.empty((0, 2))])
    centres = axes.transData.transform(drawn)
    taken = np.concatenate([centres - 7, centres + 7], axis=1)  # boxes: left, bottom, right, top, in pixels
    for name, x, y in points:
        line = {"arrowstyle": "-", "color": "#a0a0a0", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 5}
        text = axes.annotate(name, (x, y), (0, 0), textcoords="offset points", fontsize=8, ha="center", va="center",
                             arrowprops=line, zorder=1.9)  # fmt: skip
        point = np.asarray(axes.transData.transform(np.array([x, y])))
        size = np.asarray(Text.get_window_extent(text).size)
        box = _free_place(point, size, np.asarray(axes.bbox.extents), taken)
        taken = np.vstack([taken, box])
        dx, dy = ((box[:2] + box[2:]) / 2 - point) * 72 / axes.figure.dpi
        text.xyann = (dx, dy)


def _free_place(point: np.ndarray, size: np.ndarray, inside: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Return the nearest box of this size beside a point (pixels) that overlaps nothing; the farthest if none is."""
    for reach in (10, 18, 28, 40, 54, 70, 88, 108, 130, 160):
        for turn in np.deg2rad([0, 180, 90, -90, 45, -45, 135, -135]):
            centre = point + np.array([math.cos(turn), math.sin(turn)]) * (reach + size / 2)
            box = np.concatenate([centre - size / 2, centre + size / 2])
            fits = (box[:2] >= inside[:2]).all() and (box[2:] <= inside[2:]).all()
            if fits and not ((box[:2] < taken[:, 2:]) & (box[2:] > taken[:, :2])).all(1).any():
                return box
    return box


def number_legend(figure: Figure, names: Mapping[str, str]) -> None:
    """Write row and number of each point right of the axes; `names` are numbers by row."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], linestyle="", label=f"{rank:>2}  {row}") for row, rank in names.items()]
    figure.legend(handles=handles, loc="outside right lower", fontsize=8, frameon=False, handlelength=0)
