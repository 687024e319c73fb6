"""Pictures of the effects: a point and an interval per pair of lines, about a line at 0."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.views.effects import MEAN, resampled
from benchmark.views.pairs import AGAINST, EFFECT
from benchmark.views.plots import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

LINE = 0.21  # inches
# Score -> column, colour, marker, place beside the middle of the line.
SCORES = {
    "macro Jaccard index": ("jaccard", "#0072B2", "o", -0.16),
    "boundary Jaccard index, 2 pixels": ("boundary", "#D55E00", "s", 0.16),
}
_GREY, _PALE = "#6b6b6b", 0.38


def forest(table: DataFrame, path: Path) -> Path | None:
    """Draw the effects, grouped, the mean of each under its settings; None where there are none."""
    shown = table[table["kind"].isin((EFFECT, MEAN))]
    if shown["jaccard"].notna().sum() == 0:
        return None
    entries: list[dict[str, Any]] = []
    for effect, lines in shown.groupby("effect", sort=False):
        entries += [{"kind": "", "setting": effect}, *lines.to_dict("records")]
    with canvas(path, 1.3 + LINE * len(entries)) as figure:
        axes = figure.subplots()
        for place, entry in enumerate(entries):
            if entry["kind"]:
                _points(axes, entry, place)
        _frame(axes, shown, len(entries), "first minus second")
        axes.set_yticks(range(len(entries)), [textwrap.shorten(entry["setting"], 64) for entry in entries], fontsize=8)
        for tick, entry in zip(axes.get_yticklabels(), entries, strict=True):
            tick.set_fontweight("normal" if entry["kind"] == EFFECT else "bold")
            tick.set_color("black" if entry["kind"] != EFFECT else "#303030")
        _legend(figure, shown)
    return path


def against(table: DataFrame, path: Path) -> Path | None:
    """Draw foundation models minus each classical row, a panel each; None where there are none."""
    shown = table[(table["kind"] == AGAINST) & table["jaccard"].notna()]
    if shown.empty:
        return None
    names = list(dict.fromkeys(shown["setting"]))
    panels = list(shown.groupby("effect", sort=False))
    with canvas(path, 1.5 + LINE * len(names)) as figure:
        for axes, (effect, lines) in zip(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels,
                                         strict=True):  # fmt: skip
            for entry in lines.to_dict("records"):
                _points(axes, entry, names.index(entry["setting"]))
            _frame(axes, lines, len(names), "")
            axes.set_title(effect, fontsize=9)
        figure.axes[0].set_yticks(range(len(names)), names, fontsize=8)
        figure.supxlabel("foundation model minus classical row", fontsize=9)
        _legend(figure, shown)
    return path


def _points(axes: Axes, entry: Mapping[str, Any], place: int) -> None:
    """Draw both scores of one line, pale unless there is an interval and it leaves 0 out."""
    for column, colour, marker, beside in SCORES.values():
        mean, low, high = (entry[column + end] for end in ("", "_low", "_high"))
        if math.isnan(mean):
            continue
        y, alpha = place + beside, 1.0 if low > 0 or high < 0 else _PALE
        axes.plot([low, high], [y, y], color=colour, linewidth=2.6 if entry["kind"] == MEAN else 1.3, alpha=alpha)
        axes.plot(mean, y, "D" if entry["kind"] == MEAN else marker, color=colour, markersize=4.5, alpha=alpha,
                  markerfacecolor=colour if column == "jaccard" else "white")  # fmt: skip


def _frame(axes: Axes, lines: DataFrame, count: int, what: str) -> None:
    """Set limits, the line at 0 and a light grid."""
    ends = lines[[f"{column}{end}" for column, *_ in SCORES.values() for end in ("", "_low", "_high")]].to_numpy(float)
    reach = min(1.0, 1.05 * float(np.nanmax(np.abs(ends)))) or 1.0
    left, right = (
        max(-reach, 1.1 * min(0.0, float(np.nanmin(ends)))),
        min(reach, 1.1 * max(0.0, float(np.nanmax(ends)))),
    )
    margin = 0.03 * (right - left) or 0.01
    axes.set(xlim=(left - margin, right + margin), ylim=(count - 0.4, -0.6), xlabel=what)
    axes.axvline(0, color="black", linewidth=1.0, zorder=1)
    axes.grid(visible=False, axis="y")
    axes.tick_params(labelsize=8)


def _legend(figure: Figure, shown: DataFrame) -> None:
    from matplotlib.lines import Line2D

    looks = [(name, colour, marker, colour if column == "jaccard" else "white", 1.0)
             for name, (column, colour, marker, _) in SCORES.items()
             if shown[column].notna().any()]  # fmt: skip
    looks.append(("pale: not resolved", _GREY, "o", _GREY, _PALE))
    if (shown["kind"] == MEAN).any():
        looks.append(("mean over settings", _GREY, "D", _GREY, 1.0))
    handles = [
        Line2D([], [], linestyle="-", color=colour, marker=marker, markerfacecolor=fill, markersize=5, alpha=alpha,
               label=name)
        for name, colour, marker, fill, alpha in looks
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=8, frameon=False,
                  title=_sentence(resampled(shown)), title_fontsize=8)  # fmt: skip


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
