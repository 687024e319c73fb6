"""Pictures of comparisons: differences to the first row with the rows that tie shaded, and ranks over data sets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.stats import ALPHA
from benchmark.views.comparisons import BEST
from benchmark.views.plots import FAMILIES, canvas, look
from benchmark.views.tables import label, ranked

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

LINE = 0.26  # inches
FEWEST = 3  # data sets, and rows, that ranks are compared over
_SHADE, _GREY = "#e9f1f7", "#6b6b6b"
_BESIDE = {"jaccard": -0.16, "boundary": 0.16}  # of the middle of the line


def ties(frame: DataFrame, table: DataFrame, path: Path) -> Path | None:
    """Draw each ranked row's differences to the first row, those that tie shaded; None where nothing is compared.

    Args:
        frame: the leaderboard, for families and ties.
        table: of `comparisons.compare`.
        path: of the picture.
    """
    shown = table[(table["against"] == BEST) & table["jaccard"].notna()].to_dict("records")
    if not shown:
        return None
    known = {(line["row"], line["tuned"]): line for line in frame.to_dict("records")}
    kinds = [known[line["row"], line["tuned"]] for line in shown]
    with canvas(path, 1.5 + LINE * len(shown)) as figure:
        axes = figure.subplots()
        for place, (line, kind) in enumerate(zip(shown, kinds, strict=True)):
            if kind["tied"] is True:
                axes.axhspan(place - 0.5, place + 0.5, color=_SHADE, linewidth=0, zorder=0)
            _points(axes, line, kind["family"], place)
            p = line["jaccard_holm"]
            told = "" if math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"
            axes.annotate(
                told, (1, place), (5, 0), axes.get_yaxis_transform(), "offset points", fontsize=8, va="center"
            )
        axes.annotate("p (Holm)", (1, 1), (5, 3), "axes fraction", "offset points", fontsize=8)
        axes.axvline(0, color="black", linewidth=1.0, zorder=1)
        axes.grid(visible=False, axis="y")
        axes.set_yticks(range(len(shown)), [label(line["row"], line["tuned"]) for line in shown], fontsize=8)
        axes.set_ylim(len(shown) - 0.5, -0.5)
        first = label(shown[0]["reference"], shown[0]["reference_tuned"])
        axes.set_xlabel(f"row minus {first}, 95 % interval over scenes and seeds")
        _legend(figure, [kind["family"] for kind in kinds])
    return path


def _points(axes: Axes, line: Mapping[str, Any], family: str, place: int) -> None:
    """Draw the difference in the Jaccard index (filled) and in the boundary Jaccard index (open)."""
    colour, marker = look(family)
    for measure, beside in _BESIDE.items():
        if math.isnan(line[measure]):
            continue
        y = place + beside
        axes.hlines(y, line[f"{measure}_low"], line[f"{measure}_high"], color=colour, linewidth=1.3, zorder=2)
        fill = colour if measure == "jaccard" else "white"
        axes.plot(line[measure], y, marker, color=colour, markerfacecolor=fill, markersize=5, zorder=3)


def _legend(figure: Figure, families: list[str]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    names = [name for name in dict.fromkeys((*FAMILIES, *families)) if name in families]
    looks = [(name, *look(name), look(name)[0]) for name in names]
    looks += [("Jaccard", _GREY, "o", _GREY), ("boundary Jaccard, 2 pixels", _GREY, "o", "white")]
    handles = [
        Line2D([], [], linestyle="", color=colour, marker=marker, markerfacecolor=fill, markersize=5, label=name)
        for name, colour, marker, fill in looks
    ]
    shade = Patch(color=_SHADE, label="tied with the first row")
    figure.legend(handles=[*handles, shade], loc="outside upper center", ncols=5, fontsize=8, frameon=False,
                  columnspacing=1.0, handletextpad=0.4)  # fmt: skip


def critical_difference(frames: Mapping[str, DataFrame], path: Path) -> Path | None:
    """Draw the mean ranks of rows over data sets, those joined whose ranks are not told apart at 5 %.

    Friedman's test, then Nemenyi's where that rejects (Demšar 2006, Journal of Machine Learning Research), on the macro
    Jaccard index of the line that each row ranks by. Where it does not, all rows are joined.

    Args:
        frames: data set -> its leaderboard.
        path: of the picture.

    Returns:
        The path; None with fewer than FEWEST data sets, or rows with a score on all of them.
    """
    from pandas import DataFrame

    matrix = _shared(frames)
    if len(matrix) < FEWEST or matrix.shape[1] < FEWEST:
        return None
    from scikit_posthocs import critical_difference_diagram, posthoc_nemenyi_friedman
    from scipy.stats import friedmanchisquare

    ranks = matrix.rank(axis=1, ascending=False).mean()
    chance = float(friedmanchisquare(*matrix.to_numpy().T).pvalue)
    alike = DataFrame(np.ones((len(ranks), len(ranks))), ranks.index, ranks.index)
    found = posthoc_nemenyi_friedman(matrix) if chance < ALPHA else alike
    with canvas(path, 1.2 + 0.16 * len(ranks)) as figure:
        axes = figure.subplots()
        critical_difference_diagram(ranks, found, ax=axes, alpha=ALPHA, color_palette=["black"] * len(ranks),
                                    label_fmt_left="{label} ({rank:.1f})", label_fmt_right="({rank:.1f}) {label}",
                                    label_props={"fontsize": 9}, elbow_props={"linewidth": 0.9},
                                    marker_props={"s": 22}, text_h_margin=0.1)  # fmt: skip
        axes.grid(visible=False)
        data = ", ".join(str(name) for name in matrix.index)
        axes.set_title(f"Mean rank over {len(matrix)} data sets ({data}); Friedman's p = {chance:.2g}", fontsize=9)
    return path


def _shared(frames: Mapping[str, DataFrame]) -> DataFrame:
    """Return the macro Jaccard index, a line a data set and a column a row, of rows with a score on all."""
    import pandas as pd

    columns = {}
    for name, frame in frames.items():
        columns[name] = ranked(frame).set_index("row")["jaccard"]
    return pd.DataFrame(columns).dropna().T
