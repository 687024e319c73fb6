"""Differences between the lines and arms of a study, all paired.

To the first arm, to reference rows, from inside a domain to outside it, and the number of labelled patches at which one
line reaches another.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression

from benchmark.scores import jaccard
from benchmark.stats import ALPHA, Difference, holm
from benchmark.studies._draws import Drawn, draw, estimate, mean_of, shared
from benchmark.studies.study_table import Entry, Study
from benchmark.views.pairs import CLASSICAL

NAMES = ("row", "family", "tuned", "suspect")
PARTS = ("difference", "low", "high", "p", "holm", "detectable", "seeds", "scenes")
MEAN, WHOLE = "mean", "all"
ITSELF, OTHERS = "the value itself", "others"  # sources of a mean over values
REACHED, BELOW, NEVER = "reached", "from the fewest patches on", "not reached"
MOST = 24  # lines of which each is held against each; of more, all against the references
CROSSINGS = (
    *(*NAMES, "reference", "reference_tuned", "target", "verdict"),
    *("patches", "patches_low", "patches_high", "full_patches", "seeds", "scenes"),
)


def named(entry: Entry) -> dict[str, Any]:
    """Return the columns NAMES."""
    return {"row": entry.cell.row, "family": entry.cell.family, "tuned": entry.cell.tuned, "suspect": entry.suspect}


def difference(first: Entry | None, second: Entry | None) -> Difference:
    """Return first minus second in the macro Jaccard index, on what both have in common; NaN where that is nothing."""
    if first is None or second is None or first.stack is None or second.stack is None:
        return Difference()
    if (pair := shared(first.stack, second.stack)) is None:
        return Difference()
    sides = []
    for entry, stack in zip((first, second), pair, strict=True):
        assert entry.stack is not None
        whole = (stack.subsets, stack.seeds, stack.scenes) == (
            entry.stack.subsets, entry.stack.seeds, entry.stack.scenes)  # fmt: skip
        drawn = entry.drawn if whole else draw(stack, jaccard)
        assert drawn is not None
        sides.append(drawn)
    return estimate(sides[0].minus(sides[1]))


def fields(one: Difference) -> dict[str, Any]:
    """Return the columns PARTS; `holm` is `table_of`'s."""
    told = one.mean, one.low, one.high, one.p, math.nan, one.detectable, one.seeds, one.scenes
    return dict(zip(PARTS, told, strict=True))


def table_of(entries: Iterable[dict[str, Any]], columns: Sequence[str], families: Sequence[str] = ()) -> pd.DataFrame:
    """Return a table with Holm's p adjusted over all entries, or over those with the same `families`."""
    table = pd.DataFrame(list(entries), columns=[*columns, *PARTS])
    table["holm"] = table.groupby(list(families))["p"].transform(holm) if families else holm(table["p"])
    return table


def to_first(found: Study) -> pd.DataFrame:
    """Return each line in each further arm minus itself in the first; Holm's p is over the whole table."""
    lines = found.by_name().values()
    entries = (
        {**found.arms[place].values, **named(entry), **fields(difference(entry, arms.get(0)))}
        for arms in lines
        for place, entry in arms.items()
        if place
    )
    return table_of(entries, [*found.axes, *NAMES])


def references(found: Study) -> list[tuple[str, bool]]:
    """Return the lines that others are held against: defaults of the classical rows, and of controls."""
    controls = [entry.cell.control for entry in found.entries if entry.cell.control]
    there = found.by_name()
    return [(row, False) for row in dict.fromkeys((*CLASSICAL, *controls)) if (row, False) in there]


def against(found: Study) -> pd.DataFrame:
    """Return, arm by arm, each line minus each classical row and its own control; Holm's p is over an arm."""
    there, classical = found.by_name(), [name for name in references(found) if name[0] in CLASSICAL]
    return table_of(_against(found, there, classical), [*found.axes, *NAMES, "reference", "arm"], ["arm"])


def _against(found: Study, there: dict[Any, dict[int, Entry]], classical: Sequence[Any]) -> Iterator[dict[str, Any]]:
    for place, arm in enumerate(found.arms):
        pairs = set()
        for name, entry in ((name, arms[place]) for name, arms in there.items() if place in arms):
            control = (entry.cell.control, False)
            for other in (*classical, *([control] if control in there and control not in classical else [])):
                # a classical row is held against those before it, and not the other way round as well
                if other == name or (name in classical and (other, name) in pairs):
                    continue
                pairs.add((name, other))
                told = {"reference": other[0], "arm": arm.title}
                yield {**arm.values, **named(entry), **told, **fields(difference(entry, there[other].get(place)))}


def crossings(found: Study) -> pd.DataFrame:
    """Return the number of labelled patches at which a line reaches the score of a reference on all patches.

    The difference to that score is known in each arm, with its paired interval. Estimate and ends are made monotone
    (isotonic regression, no weights), and read off at 0 by interpolation in the logarithm of patches; so the interval
    of the patches is all numbers at which the interval of the difference holds 0. Nothing is extrapolated: `verdict`
    is NEVER where the line stays below within the arms, BELOW where it is above from the first on and `patches` is
    the first arm's. An end of the interval is NaN where it lies beyond the arms; `patches_low` is at the first arm
    where it may lie below it.

    Each line is held against each where there are at most MOST, else against `references`.
    """
    there = found.by_name()
    chosen = list(there) if len(there) <= MOST else references(found)
    order = sorted(range(len(found.arms)), key=lambda place: found.arms[place].patches)
    entries = [
        _crossing(found, order, there[name], full)
        for name in there
        for other in chosen
        if other != name and (full := there[other].get(order[-1])) is not None
    ]
    return pd.DataFrame([entry for entry in entries if entry], columns=list(CROSSINGS))


def _crossing(found: Study, order: Sequence[int], arms: dict[int, Entry], full: Entry) -> dict[str, Any]:
    """Return the columns of one pair; nothing unless two arms of the line can be held against the reference."""
    known = [(place, one) for place in order if not math.isnan((one := difference(arms.get(place), full)).mean)]
    if len(known) < 2 or full.drawn is None:
        return {}
    patches = np.log([found.arms[place].patches for place, _ in known])
    means, lows, highs = (monotone([getattr(one, end) for _, one in known]) for end in ("mean", "low", "high"))
    at = reach(patches, means)
    verdict = NEVER if math.isnan(at) else BELOW if means[0] >= 0 else REACHED
    last = known[-1][1]
    return {
        **named(arms[known[-1][0]]),
        **{"reference": full.cell.row, "reference_tuned": full.cell.tuned, "target": float(full.drawn.by_seed.mean())},
        **{"verdict": verdict, "patches": math.exp(at)},
        **{"patches_low": math.exp(reach(patches, highs)), "patches_high": math.exp(reach(patches, lows))},
        **{"full_patches": found.arms[order[-1]].patches, "seeds": last.seeds, "scenes": last.scenes},
    }


def monotone(values: Sequence[float]) -> np.ndarray:
    """Return the rising sequence nearest to these; NaN where one is unknown."""
    if np.isnan(values).any():
        return np.full(len(values), math.nan)
    return np.asarray(isotonic_regression(values).x)


def reach(x: np.ndarray, values: np.ndarray) -> float:
    """Return where rising values first are 0 or more, between points by a straight line; NaN where they never are."""
    above = np.flatnonzero(values >= 0)
    if not len(above):
        return math.nan
    place = int(above[0])
    if place == 0:
        return float(x[0])
    share = -values[place - 1] / (values[place] - values[place - 1])
    return float(x[place - 1] + share * (x[place] - x[place - 1]))


def split_domain(text: str) -> tuple[str, str]:
    """Return where a domain's line trained and where it was tested."""
    source, _, target = (part.strip() for part in text.partition("->"))
    return source, target


def drops(found: Study) -> pd.DataFrame:
    """Return the score inside a domain minus that from outside, by line and tested value, and the mean over values.

    `inside` is of an arm that trained on the tested value as well, on `source_inside`, and `outside` of one that did
    not, on `source`, both on the same test patches; of several such arms each pair is an entry. The mean is over all
    tested values, where a line has both scores on each, one for what trained on all and one for what trained on the
    value alone; the scenes of all values are resampled together. Holm's p is over the values and, apart, over the
    means.
    """
    entries = [entry for arms in found.by_name().values() for entry in _drops(found, arms)]
    columns = [*(axis for axis in found.axes if axis != "domain"), *NAMES, "value", "source_inside", "source"]
    marked = ({**one, "mean": one["value"] == MEAN} for one in entries)
    table = table_of(marked, [*columns, "mean", "inside", "outside"], ["mean"])
    return table.drop(columns="mean")


def _drops(found: Study, arms: dict[int, Entry]) -> Iterator[dict[str, Any]]:
    settings: dict[Any, dict[str, dict[str, Entry]]] = {}
    for place, entry in arms.items():
        values = dict(found.arms[place].values)
        source, target = split_domain(str(values.pop("domain")))
        settings.setdefault(tuple(values.items()), {}).setdefault(target, {})[source] = entry
    for values, targets in settings.items():
        made = {(target, *pair): _sides(*(sources[source] for source in pair))
                for target, sources in targets.items() for pair in _pairs(sources, target)}  # fmt: skip
        for (target, home, away), sides in made.items():
            inside, outside = (targets[target][source] for source in (home, away))
            told = {**named(outside), "value": target, "source_inside": home, "source": away}
            drop = difference(inside, outside) if sides is not None else Difference()
            yield {**dict(values), **told, **_ends(sides), **fields(drop)}
        for (target, _, away), mean in _means(made):
            yield {**dict(values), **named(targets[target][away]), "value": MEAN, **mean}


def _pairs(sources: Iterable[str], target: str) -> list[tuple[str, str]]:
    """Return each source that holds the target with each that does not."""
    inside = [source for source in sources if source in (WHOLE, target)]
    return list(product(inside, [source for source in sources if source not in inside]))


def _means(made: Mapping[tuple[str, str, str], Any]) -> Iterator[tuple[tuple[str, str, str], dict[str, Any]]]:
    """Yield, of (value, source inside, source) -> sides, a first key and the mean for each kind of source inside."""
    every = {target for target, _, _ in made}
    kinds = {key: WHOLE if key[1] == WHOLE else ITSELF for key in made}
    for kind in dict.fromkeys(kinds.values()):
        keys = [key for key in made if kinds[key] == kind]
        by_target: dict[str, list[Any]] = {}
        for key in keys:
            by_target.setdefault(key[0], []).append(made[key])
        if len(by_target) == len(every) > 1 and all(made[key] is not None for key in keys):
            sources = {away for _, _, away in keys}
            told = {"source_inside": kind, "source": OTHERS if len(sources) > 1 else sources.pop()}
            yield keys[0], {**told, **_mean(list(by_target.values()))}


def _sides(inside: Entry, outside: Entry) -> Any:
    """Return the stacks of both on what they share; None if they did not test on the same patches."""
    if inside.stack is None or outside.stack is None or inside.stack.patches != outside.stack.patches:
        return None
    return shared(inside.stack, outside.stack)


def _ends(sides: Any) -> dict[str, float]:
    if sides is None:
        return {"inside": math.nan, "outside": math.nan}
    each = [float(jaccard(stack.counts.sum(2)).mean()) for stack in sides]
    return {"inside": each[0], "outside": each[1]}


def _mean(known: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Return both scores and their difference, the means over values; scenes of one value have no pixels of another.

    Args:
        known: sides by value; of several of one value their mean is what the value counts.
    """
    scenes = tuple(sorted({scene for each in known for sides in each for scene in sides[0].scenes}))
    apart: list[list[Drawn]] = [[], []]
    for each in known:
        for side, stacks in zip(apart, zip(*each, strict=True), strict=True):
            taken = [stack.take(stack.subsets, stack.seeds, scenes) for stack in stacks]
            side.append(mean_of([draw(stack, jaccard) for stack in taken]))
    parts = [one.minus(other) for one, other in zip(*apart, strict=True)]
    inside, outside = (float(np.mean([one.by_seed.mean() for one in side])) for side in apart)
    return {"inside": inside, "outside": outside, **fields(estimate(mean_of(parts)))}


def by_pair(table: pd.DataFrame) -> list[tuple[str, tuple[str, str] | None, pd.DataFrame]]:
    """Return the parts of a table of `drops`, a pair of sources each, the mean over values first.

    Beside its lines each has the tested value, and the sources inside and outside; None where the value has one pair.
    """
    parts = []
    for value in sorted(set(table["value"]), key=lambda one: (one != MEAN, one)):
        pairs = list(table[table["value"] == value].groupby(["source_inside", "source"], sort=False))
        parts += [(str(value), (str(home), str(away)) if len(pairs) > 1 else None, part)
                  for (home, away), part in pairs]  # fmt: skip
    return parts


def resolved(entry: Any) -> bool:
    """Whether a difference of a table is resolved at 5 % after Holm's adjustment."""
    return bool(entry["holm"] < ALPHA)
