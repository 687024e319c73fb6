"""Heat-map of the scores inside strata: a line per row of the leaderboard, a column per class of a stratum."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.views.plots import MOST, WIDTH, canvas
from benchmark.views.strata_table import FEWEST

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

LINE = 0.19  # inches
NAMES = 1.9  # inches that the names of rows take
# Strata that tell of the cloud or of the place in it; all others tell of the scene.
CLOUD = ("optical_depth", "phase", "cloud_size", "cloud_side", "clear_side")
TITLES = {"cloud_side": "cloud, px to clear", "clear_side": "clear, px to cloud", "cloud_size": "cloud of px"}
VALUES = {"10000 and more": "from 10000", "turbid_or_inland_water": "turbid, inland"}
# What is shown -> mark behind the name of a column, and what it means.
MARKS = {"jaccard": ("", ""), "recall": (" ●", "share of cloud found"), "specificity": (" ○", "share of clear found")}
# Where clear pixels are taken for cloud: flags, and classes of a surface.
ALARMS = {
    **dict.fromkeys(("smoke", "dust", "glint", "snow", "shadow"), ("yes",)),
    "surface": ("snow", "sea_ice", "desert"),
    "classes": ("cloud_shadow",),
}


def heatmap(table: DataFrame, path: Path) -> Path | None:
    """Draw the scores of `strata_table` in strata of the scene and of clouds, and false-alarm rates; None without any.

    Cells of fewer than FEWEST pixels (false alarms: clear ones) are blank, and so are columns without any other.
    """
    if table.empty:
        return None
    best = table.drop_duplicates(["row", "stratum", "value"], keep="last")
    rows = list(dict.fromkeys(best["row"]))[:MOST]
    best = best[best["row"].isin(rows)]
    panels = [panel for panel in (_scene(best), _cloud(best), _alarms(best)) if not panel.empty]
    if not panels:
        return None
    with canvas(path, _height(len(rows), panels)) as figure:
        _draw_all(figure, [panel.reindex(rows) for panel in panels])
        figure.supxlabel(_note(len(rows) < table["row"].nunique()), fontsize=8)
    return path


def _scene(table: DataFrame) -> DataFrame:
    flags = table.groupby("stratum")["value"].transform(lambda found: set(found) <= {"no", "yes"})
    return _grid(table[~table["stratum"].isin(CLOUD) & ~(flags & (table["value"] == "no"))], "score")


def _cloud(table: DataFrame) -> DataFrame:
    return _grid(table[table["stratum"].isin(CLOUD)], "score")


def _alarms(table: DataFrame) -> DataFrame:
    pairs = [(stratum, value) for stratum, values in ALARMS.items() for value in values]
    chosen = table[[pair in pairs for pair in zip(table["stratum"], table["value"], strict=True)]]
    clear = chosen.assign(pixels=chosen["pixels"] - chosen["cloud"], shown="jaccard")
    return _grid(clear, "false_alarm_rate")


def _grid(table: DataFrame, score: str) -> DataFrame:
    """Return rows x columns of a score; columns are (stratum, class, what is shown)."""
    known = table[(table["pixels"] >= FEWEST) & table[score].notna()]
    keys = ["stratum", "value", "shown"]
    order = known[keys].drop_duplicates().sort_values("stratum", kind="stable", key=lambda name: name.map(_place))
    made = known.pivot(index="row", columns=keys, values=score).reindex(columns=list(order.itertuples(index=False)))
    made.attrs["score"] = score
    return made


def _place(stratum: str) -> int:
    """Return where a stratum stands: those of clouds as in CLOUD, others by what comes first, flags last."""
    first = ("biome", "surface", "land", "coast", "sun", "view", "light", *CLOUD)
    return first.index(stratum) if stratum in first else len(first)


def _height(rows: int, panels: list[DataFrame]) -> float:
    stacked = 1 + any(panel.attrs["score"] == "score" for panel in panels[1:])
    return 0.6 + stacked * (1.75 + LINE * rows)


def _draw_all(figure: Figure, panels: list[DataFrame]) -> None:
    """Draw the panels: scores beneath each other, false alarms right of the last of them."""
    stacked = [[panel] for panel in panels if panel.attrs["score"] == "score"]
    beside = [panel for panel in panels if panel.attrs["score"] != "score"]
    stacked[-1:] = [[*stacked[-1], *beside]] if stacked else [beside]
    for part, line in zip(figure.subfigures(len(stacked), 1, squeeze=False)[:, 0], stacked, strict=True):
        widths = [max(panel.shape[1], 2) for panel in line]  # the title of false alarms needs two
        axes = part.subplots(1, len(line), squeeze=False, width_ratios=widths)[0]
        for place, (one, panel) in enumerate(zip(axes, line, strict=True)):
            _draw(one, panel, sum(widths), named=place == 0)


def _draw(axes: Axes, panel: DataFrame, columns: int, named: bool) -> None:
    """Draw one panel: colours, numbers of two decimals, and a gap between strata.

    Args:
        axes: to draw in.
        panel: of `_grid`.
        columns: of all panels in this line.
        named: whether the rows have their names here.
    """
    import seaborn

    alarms = panel.attrs["score"] != "score"
    names, rows = list(panel.columns), list(panel.index) if named else []
    values = panel.to_numpy(float)
    size = min(7.0, 72 * (WIDTH - NAMES) / columns / 2.6)
    seaborn.heatmap(values, vmin=0, vmax=1, cmap="Reds" if alarms else "viridis", annot=np.vectorize(_number)(values),
                    fmt="", cbar=False, ax=axes, linewidths=0.3, linecolor="white",
                    annot_kws={"fontsize": size})  # fmt: skip
    axes.set_facecolor("#f0f0f0")
    for place in range(1, len(names)):
        if names[place][0] != names[place - 1][0]:
            axes.axvline(place, color="white", linewidth=3)
    axes.set_xticks(np.arange(len(names)) + 0.5, [_name(*name) for name in names], rotation=90, fontsize=7)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows, rotation=0, fontsize=7)
    axes.tick_params(length=0)
    axes.set_title("false alarms" if alarms else _title(names), fontsize=9)


def _number(value: float) -> str:
    return "" if np.isnan(value) else "1" if value >= 0.995 else f"{value:.2f}"[1:]


def _title(names: list[Any]) -> str:
    return "score by kind of cloud and distance to its edge" if names[0][0] in CLOUD else "score by kind of scene"


def _name(stratum: str, value: str, shown: str) -> str:
    """Return the name of a column; a flag needs none of its class."""
    name = TITLES.get(stratum, stratum).replace("_", " ")
    label = VALUES.get(value, value).replace("_", " ")
    return (name if value == "yes" else f"{name}: {label}") + MARKS[shown][0]


def _note(cut: bool) -> str:
    marks = "; ".join(f"{mark.strip()} {meaning}" for mark, meaning in MARKS.values() if mark)
    more = f" The first {MOST} rows of the leaderboard." if cut else ""
    return (
        f"Macro Jaccard index; where the truth has nearly one class only: {marks}. Mean over seeds.\n"
        "False alarms: share of the clear pixels taken for cloud. "
        f"Blank: fewer than {FEWEST} pixels (false alarms: clear ones) in the test part.{more}"
    )
