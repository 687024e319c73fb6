"""Names beside points, none over another: for scatter plots whose layout stands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def name_points(axes: Axes, points: Sequence[tuple[str, float, float]]) -> None:
    """Write each point's name at the nearest free place beside it, with a line to the point where that is far."""
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    drawn = np.concatenate([np.asarray(line.get_xydata()) for line in axes.lines] or [np.empty((0, 2))])
    taken = [Bbox.from_bounds(x - 7, y - 7, 14, 14) for x, y in axes.transData.transform(drawn)]
    for name, x, y in points:
        line = {"arrowstyle": "-", "color": "#a0a0a0", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 5}
        text = axes.annotate(name, (x, y), (0, 0), textcoords="offset points", fontsize=8, ha="center", va="center",
                             arrowprops=line, zorder=1.9)  # fmt: skip
        point = np.asarray(axes.transData.transform(np.array([x, y])))
        taken.append(_free_place(point, np.asarray(Text.get_window_extent(text).size), axes.bbox, taken))
        dx, dy = (np.mean(taken[-1].get_points(), axis=0) - point) * 72 / axes.figure.dpi
        text.xyann = (dx, dy)


def _free_place(point: np.ndarray, size: np.ndarray, inside: Any, taken: Sequence[Any]) -> Any:
    """Return the nearest box of this size beside a point (pixels) that overlaps nothing; the farthest if none is."""
    from matplotlib.transforms import Bbox

    for reach in (10, 18, 28, 40, 54, 70, 88, 108, 130, 160):
        for turn in np.deg2rad([0, 180, 90, -90, 45, -45, 135, -135]):
            centre = point + np.array([math.cos(turn), math.sin(turn)]) * (reach + size / 2)
            box = Bbox([centre - size / 2, centre + size / 2])
            fits = inside.contains(*box.min) and inside.contains(*box.max)
            if fits and not any(box.overlaps(other) for other in taken):
                return box
    return box
