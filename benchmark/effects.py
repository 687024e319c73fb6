"""Effects: what one factor alone changes, and foundation models against the classical rows, all paired with intervals.

Two lines are a pair if they were made from the same data, split and bands, both with defaults or both tuned, and their
rows differ in the level of one factor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark import boundary
from benchmark.lines import Line
from benchmark.record import Record
from benchmark.scores import scores
from benchmark.stats import Difference, Draws, Score, Tally, by_scene, common, difference, resample
from benchmark.tables import label, markdown, replacing

if TYPE_CHECKING:
    from pandas import DataFrame

ENCODING = "encoding"
COORDINATES, CHECKPOINT = "coordinates: on - off", "encoding: tl - plain checkpoint"
# (factor, level, other level): the effect is that of the first level over the second.
CONTRASTS = (
    ("start", "pretrained", "random"),
    ("start", "simpretrained", "random"),
    ("mode", "unfrozen", "frozen"),
    ("mode", "lora", "frozen"),
    ("mode", "head", "frozen"),
    ("size", "600", "300"),
    ("size", "300", "100"),
    ("size", "100", "tiny"),
    (ENCODING, "tl", "tl-nocoords"),
    (ENCODING, "tl", "plain"),
    ("skip", "on", "off"),
    ("input scale", "train", "own"),
    ("wavelengths", "true", "wrong"),
)
CLASSICAL = ("unet", "lightgbm", "random-forest")
FOUNDATION = "foundation"  # family of the rows that are held against them
EFFECT, MEAN, AGAINST = "effect", "mean", "against"
COLUMNS = (
    *("kind", "effect", "setting", "tuned", "first", "second"),
    *("jaccard", "jaccard_low", "jaccard_high", "resolved"),
    *("boundary", "boundary_low", "boundary_high", "boundary_resolved"),
    *("seeds", "scenes", "settings", "time_ratio", "energy_ratio"),
)
_UNTOLD = ("skip", "input scale", "wavelengths", "epochs")  # factors whose levels do not speak for themselves
_PLAIN = {"skip": "off", "input scale": "own", "epochs": "x1", ENCODING: "plain", "wavelengths": "true"}
_EDGE = "2"  # pixels


@dataclass(frozen=True)
class Pair:
    """Two lines and what they show: an effect, or the first against a classical row."""

    kind: str
    effect: str
    setting: str
    first: Line
    second: Line


def pairs(found: Sequence[Line]) -> list[Pair]:
    """Return the effects in the order of CONTRASTS, then foundation models against each of the classical rows."""
    done = [line for line in found if line.ok]
    by_levels = {(_conditions(line), _levels(line.first.factors)): line for line in done if line.first.factors}
    return [*_effects(by_levels), *_against(done)]


def _conditions(line: Line) -> tuple[Any, ...]:
    """Return what both lines of a pair share."""
    cell = line.first
    return cell.data, cell.fingerprint, cell.split, cell.bands, cell.tuned


def _levels(factors: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(factors.items())


def _effects(by_levels: Mapping[Any, Line]) -> Iterator[Pair]:
    """Yield the pairs of each effect; coordinates are one effect over both ways to be without them."""
    made = []
    for factor, level, other in CONTRASTS:
        for (conditions, levels), first in by_levels.items():
            if (factor, level) not in levels:
                continue
            rest = {**first.first.factors, factor: other}
            second = by_levels.get((conditions, _levels(rest)))
            name = f"{factor}: {level} - {other}"
            if factor == ENCODING and second is not None:
                name = _encoding(first, second, (conditions, _levels({**rest, factor: "tl-nocoords"})) in by_levels)
            if second is not None and name:
                made.append(Pair(EFFECT, name, _setting(first, second, factor), first, second))
    order = list(dict.fromkeys(pair.effect for pair in made))
    yield from sorted(made, key=lambda pair: order.index(pair.effect))


def _encoding(first: Line, second: Line, same_weights_off: bool) -> str:
    """Return the effect that a pair of encodings shows; "" where it is another pair's once more.

    Coordinates are what differs where both have the same weights; a plain backbone may have a checkpoint of its own.
    """
    if second.first.factors[ENCODING] == "tl-nocoords":
        return COORDINATES
    if first.first.weights != second.first.weights:
        return CHECKPOINT
    return "" if same_weights_off else COORDINATES


def _setting(first: Line, second: Line, factor: str) -> str:
    """Return the levels that both share, plain ones left out, and epochs where they differ."""
    shared = [(name, level) for name, level in first.first.factors.items() if name != factor and level]
    told = [f"{n} {v}" if n in _UNTOLD else v for n, v in shared if _PLAIN.get(n) != v]
    epochs = [line.first.budget.epochs for line in (first, second)]
    unequal = [f"({epochs[0]} epochs against {epochs[1]})"] if epochs[0] != epochs[1] else []
    return " ".join([*told, *(["(tuned)"] if first.first.tuned else []), *unequal])


def _against(done: Sequence[Line]) -> Iterator[Pair]:
    for name in CLASSICAL:
        for first in (line for line in done if line.first.family == FOUNDATION):
            for second in (line for line in done if line.first.row == name and _conditions(line) == _conditions(first)):
                yield Pair(AGAINST, f"against {name}", label(first.first.row, first.first.tuned), first, second)


def effects(frame: DataFrame, found: Sequence[Line]) -> DataFrame:
    """Return every pair of lines with the columns COLUMNS, and under the pairs of an effect their mean.

    A difference is the first line's score minus the second's: `jaccard` of the macro Jaccard index, `boundary` of the
    boundary Jaccard index at 2 pixels. What could not be computed is NaN; a ratio is of the first to the second.

    Args:
        frame: the leaderboard, for the costs.
        found: the lines of the plan.
    """
    import pandas as pd

    costs = {(line["row"], bool(line["tuned"])): line for line in frame.to_dict("records")}
    areas = _Sampler(lambda kept: kept.counts, lambda counts: scores(counts)["jaccard"])
    edges = _Sampler(lambda kept: kept.boundary.get(_EDGE, []), boundary.jaccard)
    entries: list[dict[str, Any]] = []
    for _, group in groupby(pairs(found), key=lambda pair: (pair.kind, pair.effect)):
        members = list(group)
        entries += [_entry([pair], costs, areas, edges) for pair in members]
        for tuned in (False, True):
            pooled = [pair for pair in members if pair.first.first.tuned == tuned and pair.kind == EFFECT]
            if len(pooled) > 1:
                mean = f"mean of {len(pooled)} settings{' (tuned)' * tuned}"
                entries.append(
                    _entry(pooled, costs, areas, edges) | {"kind": MEAN, "setting": mean, "first": "", "second": ""}
                )
    return pd.DataFrame(entries, columns=list(COLUMNS))


def _entry(
    members: Sequence[Pair], costs: Mapping[tuple[str, bool], Mapping[str, Any]], area: _Sampler, edge: _Sampler
) -> dict[str, Any]:
    """Return the columns of one pair, or of the mean of several."""
    pair = members[0]
    areas, edges = area.difference(members), edge.difference(members)
    names = {"first": pair.first.first.row, "second": pair.second.first.row}
    sides = [[costs[line.first.row, line.first.tuned] for line in (one.first, one.second)] for one in members]
    return {
        **{"kind": pair.kind, "effect": pair.effect, "setting": pair.setting, "tuned": pair.first.first.tuned},
        **names,
        **{"jaccard": areas.mean, "jaccard_low": areas.low, "jaccard_high": areas.high, "resolved": _said(areas)},
        **{"boundary": edges.mean, "boundary_low": edges.low, "boundary_high": edges.high},
        **{"boundary_resolved": _said(edges), "seeds": areas.seeds, "scenes": areas.scenes, "settings": len(members)},
        "time_ratio": _ratio(sides, lambda line: float(np.nansum([line["fit_s"], line["encode_s"]]))),
        "energy_ratio": _ratio(sides, lambda line: float(line["energy_j"])),
    }


class _Sampler:
    """Draws of lines on common seeds and scenes, each made once however many pairs it is in."""

    def __init__(self, counts: Callable[[Record], Sequence[Sequence[int]]], score: Score) -> None:
        self._counts, self._score = counts, score
        self._tallies: dict[int, Tally | None] = {}
        self._draws: dict[Any, Draws] = {}

    def difference(self, members: Sequence[Pair]) -> Difference:
        """Return the mean difference of some pairs on what all have in common; NaN where counts are not kept."""
        sides = [line for pair in members for line in (pair.first, pair.second)]
        tallies = [self._tally(line) for line in sides]
        known = [tally for tally in tallies if tally is not None]
        if len(known) < len(sides):
            return Difference()
        shared = common(known)
        if not all(shared):
            return Difference()
        drawn = [self._drawn(tally, *shared) for tally in known]
        return difference(drawn[::2], drawn[1::2])

    def _tally(self, line: Line) -> Tally | None:
        if id(line) not in self._tallies:
            self._tallies[id(line)] = _tally(line, [self._counts(kept) for kept in line.ok])
        return self._tallies[id(line)]

    def _drawn(self, tally: Tally, seeds: tuple[int, ...], scenes: tuple[str, ...]) -> Draws:
        key = id(tally), seeds, scenes
        if key not in self._draws:
            self._draws[key] = resample(tally.take(seeds, scenes), self._score)
        return self._draws[key]


def _tally(line: Line, counts: Sequence[Sequence[Sequence[int]]]) -> Tally | None:
    """Return counts by seed and scene with a known pixel; None if a record has none, or its seeds saw other patches."""
    done = line.ok
    if not all(counts) or len({tuple(kept.patches) for kept in done}) != 1:
        return None
    scenes = np.array(sorted(set(done[0].scenes)))
    known = by_scene(np.asarray(done[0].counts), done[0].scenes).sum(1) > 0
    summed = np.stack([by_scene(np.asarray(each), kept.scenes) for each, kept in zip(counts, done, strict=True)])
    return Tally(tuple(cell.seed for cell in line.cells), tuple(scenes[known].tolist()), summed[:, known])


def _said(found: Difference) -> str:
    """Return "yes", "not resolved" where the interval holds 0, "" where there is none."""
    if math.isnan(found.low):
        return ""
    return "yes" if found.resolved else "not resolved"


def _ratio(sides: Sequence[Sequence[Mapping[str, Any]]], cost: Callable[[Mapping[str, Any]], float]) -> float:
    """Return the geometric mean of the ratios of costs, NaN where one is not known."""
    ratios = [cost(first) / cost(second) if cost(second) > 0 else math.nan for first, second in sides]
    return float(np.exp(np.mean(np.log(ratios)))) if all(ratio > 0 for ratio in ratios) else math.nan


def tell(table: DataFrame, kinds: Sequence[str]) -> list[dict[str, str]]:
    """Return readable entries of some kinds of line."""
    shown = table[table["kind"].isin(kinds)]
    return [
        {
            "effect": line["effect"],
            "setting": line["setting"],
            "Jaccard": _interval(line, "jaccard"),
            "resolved": line["resolved"],
            "boundary Jaccard": _interval(line, "boundary"),
            "boundary resolved": line["boundary_resolved"],
            **{name: str(line[name]) for name in ("seeds", "scenes")},
            "time": _times(line["time_ratio"]),
            "energy": _times(line["energy_ratio"]),
        }
        for line in shown.to_dict("records")
    ]


def _interval(line: Mapping[str, Any], name: str) -> str:
    mean, low, high = (line[name + end] for end in ("", "_low", "_high"))
    if math.isnan(mean):
        return ""
    return f"{mean:+.3f}" + ("" if math.isnan(low) else f" [{low:+.3f}, {high:+.3f}]")


def _times(ratio: float) -> str:
    return "" if math.isnan(ratio) else f"x{ratio:.3g}"


def resampled(table: DataFrame) -> str:
    """Return what the intervals of a table rest on, in words."""
    single, several = (table["seeds"] == 1).any(), (table["seeds"] > 1).any()
    if single and several:
        return "95 % interval over scenes, and over seeds where there are several; with one it says nothing of another"
    return "95 % interval over scenes and seeds" if several else "95 % interval over scenes only: there is one seed"


TITLES = {(EFFECT, MEAN): "Effects of one factor", (AGAINST,): "Foundation models against the classical rows"}


def write_effects(table: DataFrame, out: Path) -> tuple[Path, Path]:
    """Write effects.csv and effects.md; return both. Without any pair, those of an earlier plan are removed."""
    csv, page = out / "effects.csv", out / "effects.md"
    if table.empty:
        csv.unlink(missing_ok=True)
        page.unlink(missing_ok=True)
        return csv, page
    with replacing(csv) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    parts = [
        [f"## {name}", "", f"Difference, first minus second, {resampled(table)}.", "", *markdown(entries), ""]
        for kinds, name in TITLES.items()
        if (entries := tell(table, kinds))
    ]
    with replacing(page) as temporary:
        temporary.write_text("\n".join(line for part in parts for line in part))
    return csv, page
