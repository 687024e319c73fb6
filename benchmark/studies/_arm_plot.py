"""Pictures of a study: curves over an axis of numbers, and a heat-map of differences over arms that have no order."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmark.studies._contrasts import resolved
from benchmark.studies.study_table import Study
from benchmark.views.plots import DOUBT, MOST, WIDTH, canvas, look
from benchmark.views.tables import label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES = 12  # lines whose names can be read beside their curves
COLUMNS = 16  # arms of a heat-map whose numbers can be read
LINE = 0.24  # inches
# Axis -> what its values are, and whether they go up by factors.
SCALES = {
    "train": ("labelled patches of the train part", True),
    "epochs": ("epochs", True),
    "balance": ("cloudy share of the train part in per cent", False),
    "coarser": ("coarser by a factor of", True),
}
_DASHES = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 4)), (0, (8, 4)))
_RESOLVED = "●"


def name(line: Mapping[Any, Any]) -> str:
    """Return the name of a line, marked if it is suspect."""
    return label(line["row"], bool(line["tuned"])) + DOUBT * bool(line["suspect"])


def curves(found: Study, table: pd.DataFrame, path: Path) -> Path | None:
    """Draw the score of each line over the arms with its interval, named at its end; None without two arms of a line.

    Of more than CURVES lines the best of each family at the last arm are drawn, then those that follow.

    Args:
        found: of `study_table.gather`; its first axis is drawn.
        table: of `study_table.study`.
        path: of the picture.
    """
    axis = found.axes[0]
    known = table[table["jaccard"].notna()]
    numbers = {arm.title: arm.patches if axis == "train" else arm.values[axis] for arm in found.arms}
    ticks = axis in SCALES and all(isinstance(one, int | float) for one in numbers.values())
    titles = dict(zip(map(_key, (arm.values for arm in found.arms)), numbers, strict=True))
    at = [titles[_key({one: line[one] for one in found.axes})] for line in known.to_dict("records")]
    places = {title: float(numbers[title]) if ticks else float(place) for place, title in enumerate(numbers)}
    known = known.assign(x=[places[title] for title in at])
    lines = {key: part.sort_values("x") for key, part in known.groupby(["row", "tuned"], sort=False) if len(part) > 1}
    if not lines:
        return None
    chosen = _chosen(lines)
    with canvas(path, _height(chosen)) as figure:
        axes = figure.subplots()
        for place, line in enumerate(chosen):
            _curve(axes, line, _dash(chosen, place))
        what = _scale(axes, axis, places, ticks)
        axes.set_ylabel("macro Jaccard index")
        axes.set_xlabel("\n".join([what, *_notes(lines, chosen)]))
        _name_ends(axes, chosen)
    return path


def _scale(axes: Axes, axis: str, places: Mapping[str, float], numbers: bool) -> str:
    """Put the ticks of the horizontal axis at the arms; return what it shows."""
    what, factors = SCALES.get(axis, (axis, False))
    if not numbers:
        axes.set_xticks(list(places.values()), [textwrap.fill(title, 16) for title in places], fontsize=8)
        return what
    axes.set_xscale("log" if factors else "linear")
    axes.set_xticks(list(places.values()), [f"{x:.0f}" for x in places.values()])
    axes.minorticks_off()
    return what


def _height(chosen: Sequence[pd.DataFrame]) -> float:
    """Return the height of the picture in inches."""
    return max(5.0, 1.2 + LINE * len(chosen))


def _key(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((axis, str(value)) for axis, value in values.items())


def _chosen(lines: Mapping[Any, pd.DataFrame]) -> list[pd.DataFrame]:
    """Return the lines that are drawn, by their value at the last arm."""
    ranked = sorted(lines.values(), key=lambda line: -line["jaccard"].iloc[-1])
    families = [line["family"].iloc[0] for line in ranked]
    first = [place for place, family in enumerate(families) if family not in families[:place]]
    rest = [place for place in range(len(ranked)) if place not in first]
    return [ranked[place] for place in sorted([*first, *rest][:CURVES])]


def _dash(chosen: Sequence[pd.DataFrame], place: int) -> Any:
    families = [line["family"].iloc[0] for line in chosen]
    return _DASHES[families[:place].count(families[place]) % len(_DASHES)]


def _curve(axes: Axes, line: pd.DataFrame, dash: Any) -> None:
    """Draw a line with its band; an open point is a suspect one."""
    colour, marker = look(line["family"].iloc[0])
    axes.plot(line["x"], line["jaccard"], color=colour, linestyle=dash, linewidth=1.5, zorder=3)
    axes.fill_between(line["x"], line["jaccard_low"], line["jaccard_high"], color=colour, alpha=0.08, linewidth=0)
    for point in line.to_dict("records"):
        fill = "white" if point["suspect"] else colour
        axes.plot(point["x"], point["jaccard"], marker, color=colour, markerfacecolor=fill, markersize=5.5, zorder=4)


def _notes(lines: Mapping[Any, pd.DataFrame], chosen: Sequence[pd.DataFrame]) -> list[str]:
    told = ["band: 95 % interval over scenes, seeds and subsets"]
    if len(lines) > len(chosen):
        told.append(
            f"{len(chosen)} of {len(lines)} rows: the first of each family, then the next; all are in study.csv"
        )
    if any((line["suspect"] != "").any() for line in chosen):
        told.append("open, and ? behind the name: suspect")
    return told


def _name_ends(axes: Axes, chosen: Sequence[pd.DataFrame]) -> None:
    """Write names right of the axes in the order of the last values, each behind a piece of its line."""
    low, high = axes.get_ylim()
    height = _height(chosen) - 1.2  # of the axes
    ends = [(line["jaccard"].iloc[-1] - low) / (high - low) for line in chosen]
    for number, (line, end, place) in enumerate(zip(chosen, ends, spread(ends, 0.17 / height), strict=True)):
        last = line.iloc[-1]
        told = f"{last['jaccard']:.3f}  {label(last['row'], bool(last['tuned']))}"
        colour, _ = look(last["family"])
        axes.annotate(told + DOUBT * bool((line["suspect"] != "").any()), (1, end), (1.1, place), "axes fraction",
                      "axes fraction", fontsize=8, color=colour, va="center",
                      arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 1.2, "shrinkA": 1, "shrinkB": 0,
                                  "relpos": (0, 0.5), "linestyle": _dash(chosen, number)},
                      annotation_clip=False)  # fmt: skip


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Return falling places from 0 to 1 near the wanted falling ones, none nearer to the next than `gap`."""
    places = np.asarray(wanted, float).copy()
    gap = min(gap, 1 / max(len(places) - 1, 1))
    for place in range(1, len(places)):
        places[place] = min(places[place], places[place - 1] - gap)
    places[-1] = max(places[-1], 0.0)
    for place in range(len(places) - 2, -1, -1):
        places[place] = max(places[place], places[place + 1] + gap)
    return (places - max(places[0] - 1, 0)).tolist()


def heatmap(found: Study, differences: pd.DataFrame, path: Path) -> Path | None:
    """Draw the difference of each line to itself in the first arm, rows x arms; None where nothing is known.

    Of more than COLUMNS arms those with the largest difference of any line are drawn, in the order of the suite.

    Args:
        found: of `study_table.gather`.
        differences: of `_contrasts.to_first`.
        path: of the picture.
    """
    known = differences[differences["difference"].notna()]
    if known.empty:
        return None
    titles = {_key(arm.values): arm.title for arm in found.arms}
    arms = [titles[_key({axis: line[axis] for axis in found.axes})] for line in differences.to_dict("records")]
    made = differences.assign(arm=arms, name=[label(*one) for one in zip(differences["row"], differences["tuned"],
                                                                        strict=True)])  # fmt: skip
    rows = list(dict.fromkeys(made.loc[known.index, "name"]))[:MOST]
    columns = _columns(found, made[made["name"].isin(rows)])
    grid = made.pivot(index="name", columns="arm", values="difference").reindex(index=rows, columns=columns)
    marks = {(line["name"], line["arm"]): line for line in made.to_dict("records")}
    text = [[_cell(marks.get((row, column))) for column in columns] for row in rows]
    width = min(WIDTH, 3.6 + 0.95 * len(columns))
    longest = max(len(one) for one in columns)
    turned = longest > 14 and len(columns) > 4
    with canvas(path, 1.3 + LINE * len(rows) + (0.065 * min(longest, 34) if turned else 0.3), width) as figure:
        axes = figure.subplots()
        _paint(axes, grid, text)
        shown = [textwrap.fill(one, 34 if turned else 16) for one in columns]
        axes.set_xticks(np.arange(len(columns)) + 0.5, shown, rotation=90 if turned else 0, fontsize=8)
        first = {entry.title: entry for entry in found.entries if entry.arm == 0}
        axes.set_yticks(np.arange(len(rows)) + 0.5, [_row(one, first) for one in rows], rotation=0, fontsize=8)
        axes.set_title(
            textwrap.fill(f"difference in the macro Jaccard index to '{found.arms[0].title}'", 60), fontsize=9
        )
        told = [f"{_RESOLVED} resolved at 5 % after Holm's adjustment; ? suspect; blank: no score",
                "behind a name: its score in the first arm"]  # fmt: skip
        if len(columns) < len(found.arms) - 1:
            told.append(f"{len(columns)} of {len(found.arms) - 1} arms: those of the largest differences; "
                        "all are in differences.csv")  # fmt: skip
        axes.set_xlabel("\n".join(told), fontsize=8)
    return path


def _columns(found: Study, made: pd.DataFrame) -> list[str]:
    """Return the titles of the arms that are drawn; suspect lines have no say in it where others are."""
    every = [arm.title for arm in found.arms[1:]]
    if len(every) <= COLUMNS:
        return every
    sound = made[made["suspect"] == ""] if (made["suspect"] == "").any() else made
    largest = sound.assign(size=sound["difference"].abs()).groupby("arm")["size"].max()
    kept = set(largest.sort_values(ascending=False, kind="stable").index[:COLUMNS])
    return [title for title in every if title in kept]


def _row(title: str, first: Mapping[str, Any]) -> str:
    drawn = first[title].drawn if title in first else None
    return title if drawn is None else f"{title}  {drawn.by_seed.mean():.3f}"


def _cell(line: Mapping[Any, Any] | None) -> str:
    if line is None or np.isnan(line["difference"]):
        return ""
    return f"{line['difference']:+.3f}" + f" {_RESOLVED}" * resolved(line) + DOUBT * bool(line["suspect"])


def _paint(axes: Axes, grid: pd.DataFrame, text: Sequence[Sequence[str]]) -> None:
    import seaborn

    values = grid.to_numpy(float)
    most = max(float(np.nanmax(np.abs(values))), 0.02)
    seaborn.heatmap(values, vmin=-most, vmax=most, cmap="RdBu", annot=np.array(text), fmt="", cbar=False, ax=axes,
                    linewidths=0.5, linecolor="white", annot_kws={"fontsize": 7.5})  # fmt: skip
    axes.set_facecolor("#e8e8e8")
    axes.tick_params(length=0)
