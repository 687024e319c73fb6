"""Pictures of a study in pairs: scores inside and outside a domain, and rates where clouds are hard to tell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmark.studies._arm_plot import LINE, name
from benchmark.studies._confuser_rates import CONFUSERS
from benchmark.studies._contrasts import MEAN, by_pair, resolved
from benchmark.studies._words import place
from benchmark.views.plots import DOUBT, FAMILIES, MOST, WIDTH, canvas, look
from benchmark.views.strata_table import FEWEST
from benchmark.views.tables import label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ABREAST = (4, 3)  # panels in a row: what leaves fewer places empty
_GREY, _PALE, _RESOLVED = "#6b6b6b", 0.38, "●"


def dumbbells(table: pd.DataFrame, path: Path) -> Path | None:
    """Draw, a panel a tested value and first their mean, each line's score inside and outside; None without any.

    Where a value has several pairs of sources, each pair has a panel that names them.

    Args:
        table: of `_contrasts.drops`.
        path: of the picture.
    """
    parts = [(_title(value, sources), part[part["difference"].notna()]) for value, sources, part in by_pair(table)]
    values = [(title, part) for title, part in parts if len(part)]
    if not values:
        return None
    known = pd.concat([part for _, part in values])
    means = values[0][1].drop_duplicates(["row", "tuned"]).sort_values("outside", ascending=False)
    rows = [label(*one) for one in zip(means["row"], means["tuned"], strict=True)][:MOST]
    wide = min(min(ABREAST, key=lambda wide: -len(values) % wide), len(values))
    high = math.ceil(len(values) / wide)
    titles = 0.15 * max(title.count("\n") for title, _ in values)
    with canvas(path, 1.3 + high * (0.75 + titles + LINE * 0.85 * len(rows))) as figure:
        panels = figure.subplots(high, wide, sharey=True, sharex=True, squeeze=False).ravel()
        for axes, (title, part) in zip(panels, values, strict=False):
            _panel(axes, part, rows)
            axes.set_title(title, fontsize=9)
        for spare in panels[len(values) :]:
            spare.remove()
        doubted = {label(one["row"], one["tuned"]) for one in known.to_dict("records") if one["suspect"]}
        for axes in panels[max(0, len(values) - wide) : len(values)]:
            axes.tick_params(labelbottom=True)  # those beneath, if any, were removed
        for axes in panels[: len(values) : wide]:
            axes.set_yticks(range(len(rows)), [row + DOUBT * (row in doubted) for row in rows], fontsize=8)
            axes.set_ylim(len(rows) - 0.4, -0.6)
        _legend(figure, known)
        figure.supxlabel("macro Jaccard index on the same test patches" + "; ? suspect" * bool(doubted), fontsize=9)
    return path


def _title(value: str, sources: tuple[str, str] | None) -> str:
    """Return the title of a panel; of several with one value, with what its ends were trained on."""
    named = "mean over all" if value == MEAN else value
    return f"{named}\nfilled: {sources[0]}\nopen: {sources[1]}" if sources else named


def _panel(axes: Axes, lines: pd.DataFrame, rows: Sequence[str]) -> None:
    for line in lines.to_dict("records"):
        title = label(line["row"], line["tuned"])
        if title not in rows:
            continue
        at, (colour, marker) = rows.index(title), look(line["family"])
        alpha = 1.0 if resolved(line) else _PALE
        axes.plot([line["outside"], line["inside"]], [at, at], color=colour, linewidth=2, alpha=alpha, zorder=2)
        for end, fill in (("inside", colour), ("outside", "white")):
            axes.plot(line[end], at, marker, color=colour, markerfacecolor=fill, markersize=5.5, alpha=alpha, zorder=3)
    axes.grid(visible=False, axis="y")
    axes.tick_params(labelsize=8)


def _legend(figure: Figure, known: pd.DataFrame) -> None:
    from matplotlib.lines import Line2D

    names = [one for one in (*FAMILIES, *dict.fromkeys(known["family"])) if one in set(known["family"])]
    looks = [(one, *look(one), look(one)[0], 1.0) for one in dict.fromkeys(names)]
    looks += [("trained on it too", _GREY, "o", _GREY, 1.0), ("trained without it", _GREY, "o", "white", 1.0)]
    looks.append(("pale: not resolved", _GREY, "o", _GREY, _PALE))
    handles = [
        Line2D([], [], linestyle="", color=colour, marker=marker, markerfacecolor=fill, markersize=5, alpha=alpha,
               label=one)
        for one, colour, marker, fill, alpha in looks
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 6), fontsize=8, frameon=False,
                  columnspacing=1.0, handletextpad=0.3)  # fmt: skip


def rates(table: pd.DataFrame, path: Path) -> Path | None:
    """Draw false-alarm and miss rates, rows x strata, a panel each; None without a stratum of FEWEST pixels.

    Args:
        table: of `_confuser_rates.confusers`.
        path: of the picture.
    """
    shown = table[(table["pixels"] >= FEWEST) & table["rate"].notna()]
    if shown.empty:
        return None
    shown = shown.assign(name=[name(line) for line in shown.to_dict("records")],
                         where=[place(*one) for one in zip(shown["stratum"], shown["value"], strict=True)])  # fmt: skip
    rows = list(dict.fromkeys(shown["name"]))[:MOST]
    kinds = [kind for kind in CONFUSERS if (shown["kind"] == kind).any()]
    panels = [(kind, part, list(dict.fromkeys(part["where"]))) for kind in kinds
              if len(part := shown[shown["kind"] == kind])]  # fmt: skip
    columns = sum(len(where) for _, _, where in panels)
    with canvas(path, 2.2 + LINE * len(rows), min(WIDTH, 3.4 + 0.75 * columns)) as figure:
        widths = [max(len(where), 2) for _, _, where in panels]
        for axes, (kind, part, where) in zip(figure.subplots(1, len(panels), squeeze=False, width_ratios=widths)[0],
                                             panels, strict=True):  # fmt: skip
            _heat(axes, part, rows, where)
            axes.set_title(kind, fontsize=9)
            axes.set_yticks(np.arange(len(rows)) + 0.5, rows if axes is figure.axes[0] else [""] * len(rows),
                            rotation=0, fontsize=8)  # fmt: skip
        figure.supxlabel("False alarms: share of clear pixels taken for cloud. Misses: share of cloud not found.\n"
                         f"{_RESOLVED} another rate than beside the stratum in the same scenes, resolved at 5 %. "
                         f"Blank: fewer than {FEWEST} pixels. ? suspect", fontsize=8)  # fmt: skip
    return path


def _heat(axes: Axes, part: pd.DataFrame, rows: Sequence[str], where: Sequence[str]) -> None:
    import seaborn

    known = {(line["name"], line["where"]): line for line in part.to_dict("records")}
    lines = [[known.get((row, one)) for one in where] for row in rows]
    values = [[math.nan if line is None else line["rate"] for line in each] for each in lines]
    text = [[_text(line) for line in each] for each in lines]
    seaborn.heatmap(np.array(values), vmin=0, vmax=1, cmap="Reds", annot=np.array(text), fmt="", cbar=False, ax=axes,
                    linewidths=0.5, linecolor="white", annot_kws={"fontsize": 7.5})  # fmt: skip
    axes.set_xticks(np.arange(len(where)) + 0.5, where, rotation=90, fontsize=8)
    axes.set_facecolor("#e8e8e8")
    axes.tick_params(length=0)


def _text(line: Mapping[Any, Any] | None) -> str:
    return "" if line is None else f"{line['rate']:.2f}" + f" {_RESOLVED}" * resolved(line)
