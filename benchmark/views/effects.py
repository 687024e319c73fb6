"""Effects: what one factor alone changes, and foundation models against the classical rows, with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark._files import replacing, write_csv
from benchmark.stats import Difference
from benchmark.views._resampling import Sampler, areas, edges
from benchmark.views.lines import Line
from benchmark.views.pairs import AGAINST, EFFECT, Pair, pairs
from benchmark.views.tables import markdown, signed

if TYPE_CHECKING:
    from pandas import DataFrame

MEAN = "mean"  # of the pairs of an effect
COLUMNS = (
    *("kind", "effect", "setting", "tuned", "first", "second"),
    *("jaccard", "jaccard_low", "jaccard_high", "resolved"),
    *("boundary", "boundary_low", "boundary_high", "boundary_resolved"),
    *("seeds", "scenes", "settings", "time_ratio", "energy_ratio"),
)
_ENDS = ("", "_low", "_high")


def effects(frame: DataFrame, found: Sequence[Line]) -> DataFrame:
    """Return every pair of lines with the columns COLUMNS, and under the pairs of an effect their mean.

    A mean is over the pairs whose sides trained for as many epochs, so that epochs are no part of the effect.

    A difference is the first line's score minus the second's: `jaccard` of the macro Jaccard index, `boundary` of the
    boundary Jaccard index at 2 pixels. What could not be computed is NaN; a ratio is of the first to the second: of the
    time of fitting and encoding, and of the energy of fitting, NaN where features were kept (see `_fit_energy`).

    Args:
        frame: the leaderboard, for the costs.
        found: the lines of the plan.
    """
    import pandas as pd

    costs = {(line["row"], bool(line["tuned"])): line for line in frame.to_dict("records")}
    samplers = areas(), edges()
    entries: list[dict[str, Any]] = []
    for _, group in groupby(pairs(found), key=lambda pair: (pair.kind, pair.effect)):
        members = list(group)
        entries += [_entry([pair], costs, *samplers) for pair in members]
        for tuned in (False, True):
            same = [pair for pair in members if pair.first.first.tuned == tuned and pair.kind == EFFECT]
            pooled = [pair for pair in same if pair.even]
            if len(pooled) > 1:
                left_out = " of equal epochs" * (len(pooled) < len(same))
                mean = f"mean of {len(pooled)} settings{left_out}{' (tuned)' * tuned}"
                entries.append(
                    _entry(pooled, costs, *samplers) | {"kind": MEAN, "setting": mean, "first": "", "second": ""}
                )
    return pd.DataFrame(entries, columns=list(COLUMNS))


def _entry(
    members: Sequence[Pair], costs: Mapping[tuple[str, bool], Mapping[str, Any]], area: Sampler, edge: Sampler
) -> dict[str, Any]:
    """Return the columns of one pair, or of the mean of several."""
    pair = members[0]
    both = [one.first for one in members], [one.second for one in members]
    areas, edges = area.difference(*both), edge.difference(*both)
    names = {"first": pair.first.first.row, "second": pair.second.first.row}
    sides = [(one.first, one.second) for one in members]
    times = [[_seconds(costs[line.first.row, line.first.tuned]) for line in both] for both in sides]
    return {
        **{"kind": pair.kind, "effect": pair.effect, "setting": pair.setting, "tuned": pair.first.first.tuned},
        **names,
        **{"jaccard": areas.mean, "jaccard_low": areas.low, "jaccard_high": areas.high, "resolved": _said(areas)},
        **{"boundary": edges.mean, "boundary_low": edges.low, "boundary_high": edges.high},
        **{"boundary_resolved": _said(edges), "seeds": areas.seeds, "scenes": areas.scenes, "settings": len(members)},
        "time_ratio": _ratio(times),
        "energy_ratio": _ratio([[_fit_energy(line) for line in both] for both in sides]),
    }


def _said(found: Difference) -> str:
    """Return "yes", "not resolved" where the interval holds 0, "" where there is none."""
    if math.isnan(found.low):
        return ""
    return "yes" if found.resolved else "not resolved"


def _seconds(costs: Mapping[str, Any]) -> float:
    """Return the time of fitting and encoding."""
    return float(np.nansum([costs["fit_s"], costs["encode_s"]]))


def _fit_energy(line: Line) -> float:
    """Return joules of fitting, the median over seeds; NaN where one is not known.

    It is not where a fit asked for features: energy is that of what ran, and a record does not tell which features were
    encoded in its fit and which were there.
    """
    found = [None if "encode" in kept.laps else kept.energy.get("fit") for kept in line.ok]
    return float(np.median([math.nan if joules is None else joules for joules in found]))


def _ratio(costs: Sequence[Sequence[float]]) -> float:
    """Return the geometric mean of the ratios of first to second costs, NaN where one is not known."""
    ratios = [first / second if second > 0 else math.nan for first, second in costs]
    return float(np.exp(np.mean(np.log(ratios)))) if all(ratio > 0 for ratio in ratios) else math.nan


def tell(table: DataFrame, kinds: Sequence[str]) -> list[dict[str, str]]:
    """Return readable entries of some kinds of line."""
    shown = table[table["kind"].isin(kinds)]
    return [
        {
            "effect": line["effect"],
            "setting": line["setting"],
            "Jaccard": signed(*(line[f"jaccard{end}"] for end in _ENDS)),
            "resolved": line["resolved"],
            "boundary Jaccard": signed(*(line[f"boundary{end}"] for end in _ENDS)),
            "boundary resolved": line["boundary_resolved"],
            **{name: str(line[name]) for name in ("seeds", "scenes")},
            "time": _times(line["time_ratio"]),
            "energy": _times(line["energy_ratio"]),
        }
        for line in shown.to_dict("records")
    ]


def _times(ratio: float) -> str:
    return "" if math.isnan(ratio) else f"x{ratio:.3g}"


def resampled(table: DataFrame) -> str:
    """Return what the intervals of a table rest on, in words."""
    if table["jaccard_low"].isna().all():
        return "no interval, which takes two scenes"
    single, several = (table["seeds"] == 1).any(), (table["seeds"] > 1).any()
    if single and several:
        return "95 % interval over scenes, and over seeds where there are several; with one it says nothing of another"
    return "95 % interval over scenes and seeds" if several else "95 % interval over scenes only: there is one seed"


RATIOS = (
    "time: of fitting and encoding, first to second; energy: of fitting, where neither side kept features of a frozen "
    "backbone (geometric means over settings)."
)
TITLES = {(EFFECT, MEAN): "Effects of one factor", (AGAINST,): "Foundation models against the classical rows"}


def write_effects(table: DataFrame, out: Path) -> tuple[Path, Path]:
    """Write effects.csv and effects.md; return both. Without any pair, those of an earlier plan are removed."""
    csv, page = out / "effects.csv", out / "effects.md"
    if table.empty:
        csv.unlink(missing_ok=True)
        page.unlink(missing_ok=True)
        return csv, page
    write_csv(table, csv)
    parts = [
        [f"## {name}", "", f"Difference, first minus second, {resampled(table)}. {RATIOS}", "", *markdown(entries), ""]
        for kinds, name in TITLES.items()
        if (entries := tell(table, kinds))
    ]
    with replacing(page) as temporary:
        temporary.write_text("\n".join(line for part in parts for line in part))
    return csv, page
