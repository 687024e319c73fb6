"""The picture of features: a panel per row that has them, coloured by class and, beneath, by surface."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.embedding import Embedding, read
from benchmark.views.lines import Line
from benchmark.views.plots import canvas
from benchmark.views.tables import title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

PANELS, COLUMNS = 12, 4
SIDE = 2.1  # inches of a panel
# Okabe and Ito (2008), distinct under the common kinds of colour blindness.
CLASSES = {"clear": "#0072B2", "cloud": "#E69F00"}
SURFACES = ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7", "#000000", "#999999")
STARTS = ("random", "simpretrained", "pretrained")
Shown = tuple[Line, Embedding]


def embedding(frame: DataFrame, lines: Sequence[Line], path: Path) -> Path | None:
    """Draw the tokens of each row that shows its features; rows with the very same points share a panel."""
    found = [(line, kept) for line in lines if line.ok and (kept := read(line.first.folder(line.out))) is not None]
    shown = arranged(found)
    if not shown:
        return None
    drawn = shown[:PANELS]
    known = dict.fromkeys(name for _, kept in drawn for name in kept.surfaces)
    there = {kept.surfaces[one] for _, kept in drawn if kept.surfaces for one in kept.surface}
    surfaces = {name: colour for name, colour in zip(known, cycle(SURFACES), strict=False) if name in there}
    columns = min(COLUMNS, len(drawn))
    kinds, bands = 1 + bool(surfaces), -(-len(drawn) // columns)
    with canvas(path, 0.6 + (SIDE + 0.3) * kinds * bands, width=SIDE * columns + 2.0) as figure:
        panels = figure.subplots(kinds * bands, columns, squeeze=False)
        for axes in panels.flat:
            axes.set_axis_off()
        for place, (line, kept) in enumerate(drawn):
            row, column = place // columns * kinds, place % columns
            _scatter(panels[row, column], kept, [list(CLASSES.values())[int(one)] for one in kept.cloud])
            panels[row, column].set_title(_name(line, kept), fontsize=8)
            if surfaces and kept.surfaces:
                by = [surfaces[kept.surfaces[one]] for one in kept.surface]
                _scatter(panels[row + 1, column], kept, by)
        _legend(figure, surfaces)
        if len(shown) > len(drawn):
            figure.supxlabel(f"{len(drawn)} of {len(shown)} rows with other features", fontsize=9)
    return path


def arranged(found: Sequence[Shown]) -> list[Shown]:
    """Return one of each set of points: of a backbone together, its starts side by side; single ones last."""
    seen: dict[bytes, Shown] = {}
    # A frozen row and all probes of a backbone have one set of points: the same of them is named for every start.
    for line, kept in sorted(found, key=lambda one: ("-frozen" not in one[0].first.row, one[0].first.row)):
        seen.setdefault(kept.points.tobytes(), (line, kept))
    families: dict[str, list[tuple[tuple[str, int], Shown]]] = {}
    for line, kept in seen.values():
        start = next((one for one in STARTS if f"-{one}-" in line.first.row), "")
        family, _, learns = line.first.row.partition(f"-{start}-")
        order = (learns, (*STARTS, "").index(start))
        families.setdefault(family, []).append((order, (line, kept)))
    groups = [sorted(group, key=lambda one: one[0]) for group in families.values()]
    return [one for group in sorted(groups, key=lambda group: len(group) == 1) for _, one in group]


def _name(line: Line, kept: Embedding) -> str:
    return f"{textwrap.fill(title(line.first), 24)}\n{kept.projection}, {len(kept.points)} tokens"


def _scatter(axes: Axes, kept: Embedding, colours: Sequence[str]) -> None:
    """Draw the points in a random order, so that no class lies over the others."""
    order = np.random.default_rng(0).permutation(len(kept.points))
    x, y = kept.points[order].T
    axes.set_axis_on()
    axes.scatter(x, y, s=max(1.5, min(12, 3000 / len(order))), c=np.asarray(colours)[order], linewidths=0, alpha=0.8)
    axes.set(xticks=[], yticks=[])


def _legend(figure: Figure, surfaces: dict[str, str]) -> None:
    from matplotlib.lines import Line2D

    def handles(colours: dict[str, str]) -> list[Line2D]:
        return [
            Line2D([], [], marker="o", linestyle="", color=colour, label=name.replace("_", " "))
            for name, colour in colours.items()
        ]

    style = {"fontsize": 9, "title_fontsize": 9, "frameon": False, "alignment": "left"}
    figure.legend(handles=handles(CLASSES), loc="outside right upper", title="class", **style)
    if surfaces:
        figure.legend(handles=handles(surfaces), loc="outside right lower", title="surface", **style)
