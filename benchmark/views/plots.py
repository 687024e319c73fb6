"""Pictures of the leaderboard. Each is a function of frame, lines and a path, and draws nothing where there is nothing.

Pyplot and its global state are not used. A family keeps its colour and marker in every picture.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark._files import replacing
from benchmark.record import OK, Record
from benchmark.scores import precision_recall, probability_scores, scores
from benchmark.views._labels import name_points, number_legend
from benchmark.views.lines import Line, histogram_of
from benchmark.views.tables import SUSPECT, best_lines, circles, marked, title, unranked

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

WIDTH, DPI = 9.0, 150  # inches; 1350 pixels, read at 900
MOST = 40  # rows in a picture that has a curve or a panel for each
DOUBT = " ?"  # behind the name of a suspect row
NAMED = 16  # rows whose names have room beside their points; more get numbers
# Colours: Okabe and Ito (2008), distinct under the common kinds of colour blindness.
FAMILIES = {
    "floor": ("#767676", "p"),
    "threshold": ("#E69F00", "s"),
    "probabilistic": ("#CC79A7", "D"),
    "forest": ("#009E73", "^"),
    "boosting": ("#56B4E9", "v"),
    "cnn": ("#0072B2", "o"),
    "foundation": ("#D55E00", ">"),
}
_OTHER = ("#000000", "*")
_DASHES = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)))
_GREY = "#6b6b6b"
_STYLE = {"font.size": 10, "axes.edgecolor": "#b0b0b0", "grid.color": "#e4e4e4", "font.family": ["DejaVu Sans"]}


def look(family: str) -> tuple[str, str]:
    """Return colour and marker of a family."""
    return FAMILIES.get(family, _OTHER)


@contextmanager
def canvas(path: Path, height: float, width: float = WIDTH) -> Iterator[Figure]:
    """Yield a figure in the common style, and write it to `path`."""
    import seaborn
    from matplotlib.figure import Figure

    with seaborn.axes_style("whitegrid", _STYLE):
        figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
        yield figure
        with replacing(path) as temporary:
            figure.savefig(temporary, facecolor="white", format="png")


def leaderboard(frame: DataFrame, lines: Sequence[Line], path: Path) -> Path | None:
    """Draw point and interval per line, suspect ones marked; rows without a score stand beneath with their reasons."""
    ranked = frame[frame["status"] == OK]
    if ranked.empty:
        return None
    names = list(dict.fromkeys(ranked["row"]))
    rest = [line for line in unranked(frame) if line[1] != SUSPECT]  # these have a score
    doubted = set(ranked.loc[ranked[SUSPECT] != "", "row"])
    with canvas(path, 1.3 + 0.3 * (len(names) + len(rest))) as figure:
        axes = figure.subplots()
        for line in ranked.to_dict("records"):
            pair = (ranked["row"] == line["row"]).sum() == 2
            place = names.index(line["row"])
            _interval(axes, line, place + (0.15 if line["tuned"] else -0.15) * pair)
            _right_of(axes, line["tuned"], place, f"{line['jaccard']:.3f}")
        _right_of(axes, False, -1, "default")
        _right_of(axes, True, -1, "tuned")
        longest = max(len(name) for name in (*names, *(name for name, _, _ in rest)))
        _without_score(axes, len(names), rest, 122 - round(1.2 * longest))  # the names take room from the axes
        circular = dict(zip(ranked["row"], ranked["circular"], strict=True))
        shown = [marked(name, circular[name]) + DOUBT * (name in doubted) for name in names]
        axes.set_yticks(range(len(names) + len(rest)), [*shown, *(name for name, _, _ in rest)])
        for tick in axes.get_yticklabels()[len(names) :]:
            tick.set_color(_GREY)
        axes.set_ylim(len(names) + len(rest) - 0.4, -0.6)
        doubts = ["? suspect and left out of the ranking; the table says why"] if doubted else []
        told = ["macro Jaccard index, 95 % interval over scenes and seeds", *doubts, *circles(ranked)]
        axes.set_xlabel("\n".join(told))
        _legend(figure, ranked["family"])
    return path


def _right_of(axes: Axes, tuned: bool, place: float, text: str) -> None:
    """Write small text right of the axes at a line's height, in the column of the defaults or of the tuned lines."""
    offset = (42 if tuned else 5, 0)
    axes.annotate(text, (1, place), offset, axes.get_yaxis_transform(), "offset points", fontsize=8, va="center")


def _without_score(axes: Axes, start: int, rest: Sequence[tuple[str, str, str]], width: int) -> None:
    """Write status and reason of lines without a score, cut to so many characters."""
    for place, (_, status, reason) in enumerate(rest, start):
        text = textwrap.shorten(f"{status}: {reason}", width, placeholder=" ...")
        box = {"facecolor": "white", "edgecolor": "none", "pad": 2}
        axes.text(
            0.01, place, text, fontsize=8, va="center", transform=axes.get_yaxis_transform(), color=_GREY, bbox=box
        )


def _interval(axes: Axes, line: dict[str, Any], place: float) -> None:
    colour, marker = look(line["family"])
    if not math.isnan(line["jaccard_low"]):
        axes.hlines(place, line["jaccard_low"], line["jaccard_high"], color=colour, linewidth=1.8, zorder=2)
    fill = colour if line["tuned"] else "white"
    axes.plot(line["jaccard"], place, marker, color=colour, markerfacecolor=fill, markersize=7, zorder=3)


def _legend(figure: Figure, families: Any) -> None:
    """Draw one legend for all panels above them: families, then open for defaults and filled for tuned."""
    from matplotlib.lines import Line2D

    shown = [name for name in (*FAMILIES, *families) if name in set(families)]
    looks = [(name, *look(name), look(name)[0]) for name in dict.fromkeys(shown)]
    handles = [
        Line2D([], [], linestyle="", color=colour, marker=marker, markerfacecolor=fill, label=name)
        for name, colour, marker, fill in [*looks, ("defaults", _GREY, "o", "white"), ("tuned", _GREY, "o", _GREY)]
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=9, frameon=False,
                  columnspacing=1.0, handletextpad=0.2)  # fmt: skip


def cost(frame: DataFrame, lines: Sequence[Line], path: Path) -> Path | None:
    """Draw accuracy against seconds to train (fit, encode, tune) and against speed; a row's two lines are joined."""
    ranked = frame[(frame["status"] == OK) & frame["jaccard"].notna()]
    if ranked.empty:
        return None
    spent = ranked[["fit_s", "encode_s", "tune_s"]].sum(axis=1, min_count=1)
    panels = (
        (spent, "seconds to fit, encode and tune\n(fewer is better)"),
        (ranked["mpixel_per_s"], "Mpixel predicted per second\n(more is better)"),
    )
    rows = list(dict.fromkeys(ranked["row"]))
    numbered = len(rows) > NAMED
    names = {row: str(rank) if numbered else row for rank, row in enumerate(rows, 1)}
    with canvas(path, max(5.2, 0.7 + 0.165 * len(rows)) if numbered else 5.2) as figure:
        _legend(figure, ranked["family"])
        if numbered:
            number_legend(figure, names)
        for axes, (x, what) in zip(figure.subplots(1, 2, sharey=True), panels, strict=True):
            _points(axes, ranked.assign(x=x))
            axes.set(xscale="log", xlabel=what)
            axes.margins(0.12)
        figure.axes[0].set_ylabel("macro Jaccard index")
        figure.draw_without_rendering()  # the layout must stand before labels are placed
        for axes, (x, _) in zip(figure.axes, panels, strict=True):
            points = ranked.assign(x=x)[x > 0].drop_duplicates("row", keep="last")
            labels = points["row"].map(names)
            name_points(axes, list(zip(labels, points["x"], points["jaccard"], strict=True)))
    return path


def _points(axes: Axes, ranked: DataFrame) -> None:
    for _, kinds in ranked[ranked["x"] > 0].groupby("row", sort=False):
        colour, marker = look(kinds["family"].iloc[0])
        axes.plot(kinds["x"], kinds["jaccard"], color=colour, linewidth=0.8, alpha=0.6)
        for x, y, tuned in zip(kinds["x"], kinds["jaccard"], kinds["tuned"], strict=True):
            axes.plot(x, y, marker, color=colour, markerfacecolor=colour if tuned else "white", markersize=7)


def pr_curves(frame: DataFrame, lines: Sequence[Line], path: Path) -> Path | None:
    """Draw precision against recall of the first seed of each family's first rows, a dot at the threshold in use."""
    drawn = _leaders(_with_histograms(frame, lines))
    if not drawn:
        return None
    used: dict[str, int] = {}
    with canvas(path, max(5.6, 0.8 + 0.175 * len(drawn))) as figure:
        axes = figure.subplots()
        for line, hist in drawn:
            colour, _ = look(line.first.family)
            style = _DASHES[used.setdefault(line.first.family, 0)]
            used[line.first.family] += 1
            precision, recall = precision_recall(hist)
            name = f"{named(line, frame)}  {probability_scores(hist)['auc']:.3f}"
            axes.plot(recall, precision, color=colour, linestyle=style, linewidth=1.6, label=name)
            point = scores(np.sum(line.ok[0].counts, axis=0))
            axes.plot(point["recall"], point["precision"], "o", color=colour, markeredgecolor="white", markersize=6)
        share = hist[1].sum() / hist.sum()
        axes.axhline(share, color=_GREY, linewidth=0.8, linestyle=":", label="share of cloud")
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.005), ylim=(max(0.0, share - 0.1), 1.005))
        figure.legend(loc="outside right upper", fontsize=8, frameon=False, title="ROC AUC of the first seed")
    return path


def named(line: Line, frame: DataFrame) -> str:
    """Return the name of a line of the table, marked if it is circular, and if it is suspect."""
    own = frame[(frame["row"] == line.first.row) & (frame["tuned"] == line.first.tuned)]
    return title(line.first) + DOUBT * bool((own[SUSPECT] != "").any())


def _leaders(drawn: Sequence[tuple[Line, np.ndarray]]) -> list[tuple[Line, np.ndarray]]:
    """Return the first rows of each family, as many as there are dashes to tell them apart."""
    families = [line.first.family for line, _ in drawn]
    return [one for place, one in enumerate(drawn) if families[:place].count(families[place]) < len(_DASHES)]


def _with_histograms(frame: DataFrame, lines: Sequence[Line]) -> list[tuple[Line, np.ndarray]]:
    best = best_lines(frame, lines, doubted=True)
    pairs = [(line, histogram_of(line.first, line.ok[0], line.out)) for line in best]
    return [(line, hist) for line, hist in pairs if hist is not None and hist.any()]


@contextmanager
def _panels(path: Path, count: int, height: float) -> Iterator[list[Axes]]:
    """Yield as many panels, five in a row at most."""
    columns = min(count, 5)
    rows = math.ceil(count / columns)
    with canvas(path, 0.4 + height * rows, width=max(WIDTH * columns / 5, WIDTH / 2)) as figure:
        panels = list(figure.subplots(rows, columns, squeeze=False, sharex=False).flat)
        for spare in panels[count:]:
            spare.remove()
        yield panels[:count]


def _left_out(found: Sequence[Any]) -> str:
    """Return how many rows have no panel, where that is so."""
    return f"\n(the first {MOST} rows of the table that have one; there are {len(found)})" if len(found) > MOST else ""


def _title(axes: Axes, name: str, more: str) -> None:
    axes.set_title(f"{textwrap.fill(name, 22)}\n{more}", fontsize=8)
    axes.tick_params(labelsize=8)


def curves(frame: DataFrame, lines: Sequence[Line], path: Path) -> Path | None:
    """Draw, a panel per row that reported them, validation score and losses by epoch, every seed."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    found = [line for line in best_lines(frame, lines, doubted=True) if any(kept.curves for kept in line.ok)]
    drawn = found[:MOST]
    if not drawn:
        return None
    with _panels(path, len(drawn), 2.2) as panels:
        for axes, line in zip(panels, drawn, strict=True):
            right = axes.twinx()
            right.grid(visible=False)
            right.tick_params(labelsize=8)
            for kept in line.ok:
                _curve(axes, kept, "score", color=look(line.first.family)[0], marker=".")
                _curve(right, kept, "train_loss", color=_GREY, linestyle=":")
                _curve(right, kept, "val_loss", color=_GREY, linestyle="--")
            _title(axes, named(line, frame), f"{len(line.ok)} seed" + "s" * (len(line.ok) > 1))
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        figure = panels[0].figure
        figure.supxlabel("epoch, or round of boosting" + _left_out(found), fontsize=10)
        kinds = [Line2D([], [], color="black", marker=".", label="validation score (left axis)"),
                 Line2D([], [], color=_GREY, linestyle=":", label="training loss (right axis)"),
                 Line2D([], [], color=_GREY, linestyle="--", label="validation loss (right axis)")]  # fmt: skip
        figure.legend(
            handles=kinds, loc="outside upper center", ncols=min(3, max(1, len(drawn) - 1)), fontsize=9, frameon=False
        )
    return path


def _curve(axes: Axes, kept: Record, name: str, **style: Any) -> None:
    points = [(entry["epoch"], entry[name]) for entry in kept.curves if name in entry]
    axes.plot([epoch for epoch, _ in points], [value for _, value in points], linewidth=1.2, markersize=4, **style)


PLOTS: dict[str, Callable[[DataFrame, Sequence[Line], Path], Path | None]] = {
    "leaderboard": leaderboard,
    "cost": cost,
    "precision_recall": pr_curves,
    "curves": curves,
}
