"""Picture of what was bought with the budget: the best validation score so far against the seconds spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark import spending
from benchmark.views._labels import name_points, number_legend
from benchmark.views.lines import Line
from benchmark.views.plots import FAMILIES, NAMED, canvas, look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

CAPTION = (
    "Best validation score so far against the seconds that the first seed has spent on its default fit (open) and on "
    "every trial after it (filled: the last), features and choosing included. A dot is a trial that ended with a "
    "score, a cross one that was pruned or failed. Nothing here is of the test part."
)
_GREY = "#6b6b6b"


@dataclass(frozen=True)
class Track:
    """The way of one row: after each fit the seconds spent, the best score, and whether the fit gave a score."""

    row: str
    family: str
    seconds: tuple[float, ...]
    best: tuple[float, ...]
    scored: tuple[bool, ...]
    searched: bool


def tracks(lines: Sequence[Line]) -> list[Track]:
    """Return the way of each row with a finished first seed: of its search, where there is one, else of its fit."""
    ok = [line for line in lines if line.ok]
    tuned = {line.first.row for line in ok if line.first.tuned}
    return [_track(line) for line in ok if line.first.tuned or line.first.row not in tuned]


def _track(line: Line) -> Track:
    kept = line.ok[0]
    fits = [(trial["seconds"], trial["value"] if trial["state"] == "complete" else None) for trial in kept.trials]
    seconds, best, scored = [0.0], [float("-inf")], []
    for spent, value in fits or [(spending.of_fit(kept.laps), kept.validation)]:
        seconds.append(seconds[-1] + spent)
        best.append(best[-1] if value is None else max(best[-1], value))
        scored.append(value is not None)
    return Track(line.first.row, line.first.family, tuple(seconds[1:]), tuple(best[1:]), tuple(scored), bool(fits))


def budget(frame: DataFrame, lines: Sequence[Line], path: Path) -> Path | None:
    """Draw the best validation score against seconds, a line per row that was tuned and a point for the others."""
    from matplotlib.ticker import LogLocator, NullFormatter

    order = {row: place for place, row in enumerate(dict.fromkeys(frame["row"]))}
    found = sorted(tracks(lines), key=lambda track: order[track.row])
    if not found:
        return None
    numbered = len(found) > NAMED
    names = {track.row: str(rank) if numbered else track.row for rank, track in enumerate(found, 1)}
    with canvas(path, max(5.4, 0.7 + 0.165 * len(found)) if numbered else 5.4) as figure:
        _legend(figure, found)
        if numbered:
            number_legend(figure, names)
        axes = figure.subplots()
        for track in found:
            _draw(axes, track)
        axes.set(xscale="log", xlabel="seconds spent", ylabel="best validation macro Jaccard index so far")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(0.1)
        _allowances(axes, lines)
        figure.draw_without_rendering()  # the layout must stand before labels are placed
        name_points(axes, [(names[track.row], track.seconds[-1], track.best[-1]) for track in found])
    return path


def _draw(axes: Axes, track: Track) -> None:
    colour, marker = look(track.family)
    axes.plot(track.seconds, track.best, color=colour, linewidth=1.2, drawstyle="steps-post", alpha=0.8)
    for mark, size, wanted in ((".", 4, True), ("x", 4, False)):
        shown = [place for place, scored in enumerate(track.scored) if scored is wanted]
        x, y = ([values[place] for place in shown] for values in (track.seconds, track.best))
        axes.plot(x, y, mark, color=colour, markersize=size)
    axes.plot(track.seconds[0], track.best[0], marker, color=colour, markerfacecolor="white", markersize=7)
    if track.searched:
        axes.plot(track.seconds[-1], track.best[-1], marker, color=colour, markersize=7)


def _allowances(axes: Axes, lines: Sequence[Line]) -> None:
    """Draw what each row might spend, where the plan says it."""
    for seconds in sorted({line.first.allowance for line in lines} - {0.0}):
        axes.axvline(seconds, color=_GREY, linewidth=1.0, linestyle="--")
        axes.annotate(f"{seconds:g} s for each row", (seconds, 0.01), (-4, 0), axes.get_xaxis_transform(),
                      "offset points", fontsize=8, color=_GREY, rotation=90, ha="right", va="bottom")  # fmt: skip


def _legend(figure: Figure, found: Sequence[Track]) -> None:
    from matplotlib.lines import Line2D

    families = {track.family for track in found}
    shown = [*(name for name in FAMILIES if name in families), *sorted(families - set(FAMILIES))]
    looks = [(name, *look(name), look(name)[0]) for name in shown]
    looks += [("default fit", _GREY, "o", "white"), ("last trial", _GREY, "o", _GREY), ("no score", _GREY, "x", _GREY)]
    handles = [
        Line2D([], [], linestyle="", color=colour, marker=marker, markerfacecolor=fill, label=name)
        for name, colour, marker, fill in looks
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=5, fontsize=9, frameon=False,
                  columnspacing=1.0, handletextpad=0.2)  # fmt: skip
