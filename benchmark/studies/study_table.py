"""Tables over the arms of a suite: every row in every arm, with intervals that are paired from arm to arm.

An arm is what its plans have in common once the axis `subset` is left out: subsets of the train part are draws of one
arm, like seeds (see `_draws`). A line is a row with its defaults or tuned; nothing is chosen between the two.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark import splits
from benchmark._files import replacing, write_csv
from benchmark.api import UserError
from benchmark.bands import shortly
from benchmark.plan import Cell, Plan, Value
from benchmark.record import OK
from benchmark.scores import jaccard
from benchmark.studies.arms import study as study_name
from benchmark.views.gate import suspects
from benchmark.views.lines import STATUSES, Line, by_plan
from benchmark.views.tables import SUSPECT, label, markdown

if TYPE_CHECKING:
    from pandas import DataFrame

    from benchmark.studies._draws import Drawn, Stack

SUBSET = "subset"  # the axis whose values are draws
COLUMNS = (
    *("row", "family", "tuned", "status", "reason", "suspect", "train_patches", "train_scenes"),
    *("jaccard", "jaccard_low", "jaccard_high", "n", "subsets", "seeds", "scenes"),
)
UNITS = {"train": "{:g} % of the train scenes", "balance": "{:g} % cloud", "epochs": "{:g} epochs", "coarser": "x{:g}"}
TOLD = (
    "Macro Jaccard index on the test part, mean over seeds and over subsets of the train part, with its 95 % interval. "
    "Scenes, seeds and, where there are several, subsets are resampled crosswise; a subset counts as a further draw, "
    "as a seed does. Every difference is paired: both sides see the same resampled scenes, seeds and subsets."
)


@dataclass(frozen=True)
class Entry:
    """A line in an arm: of each subset, what `lines.Line` holds, and why it is suspect, "" where it is not."""

    arm: int
    lines: tuple[tuple[int, Line], ...]
    suspect: str

    @property
    def cell(self) -> Cell:
        """The first cell."""
        return self.lines[0][1].first

    @property
    def name(self) -> tuple[str, bool]:
        """Row, and whether tuned."""
        return self.cell.row, self.cell.tuned

    @property
    def title(self) -> str:
        """The name that a reader sees."""
        return label(*self.name)

    @property
    def ending(self) -> tuple[str, str]:
        """Status and reason of the worst subset, the first of them."""
        ends = [(subset, *line.ending) for subset, line in self.lines]
        subset, status, reason = max(ends, key=lambda end: (STATUSES.index(end[1]), -ends.index(end)))
        return status, f"subset {subset}: {reason}" if status != OK and len(ends) > 1 else reason

    @cached_property
    def stack(self) -> Stack | None:
        """Counts by subset, seed and scene; None unless every run ended well, on the same patches."""
        return self.counts(lambda kept: kept.counts)

    def counts(self, of: Any) -> Stack | None:
        """Return `stack` of other counts of a record, (patches, k); of scenes that have a pixel in them."""
        from benchmark.studies._draws import stacked

        return stacked(self.lines, of) if self.ending[0] == OK else None

    @cached_property
    def drawn(self) -> Drawn | None:
        """Draws of the macro Jaccard index."""
        from benchmark.studies._draws import draw

        return None if self.stack is None else draw(self.stack, jaccard)


@dataclass(frozen=True)
class Arm:
    """Values by axis but for SUBSET, and the mean number of labelled patches and scenes in its train parts."""

    values: Mapping[str, Value]
    patches: float
    scenes: float

    @cached_property
    def title(self) -> str:
        """The name that a reader sees."""
        return ", ".join(titled(axis, value) for axis, value in self.values.items()) or "all"


@dataclass(frozen=True)
class Study:
    """The arms of a suite on one data set, and every line in each of them, arm by arm."""

    name: str
    arms: tuple[Arm, ...]
    entries: tuple[Entry, ...]

    @property
    def axes(self) -> tuple[str, ...]:
        """What the arms differ in."""
        return tuple(dict.fromkeys(axis for arm in self.arms for axis in arm.values))

    def by_name(self) -> dict[tuple[str, bool], dict[int, Entry]]:
        """Return line -> arm -> entry."""
        found: dict[tuple[str, bool], dict[int, Entry]] = {}
        for entry in self.entries:
            found.setdefault(entry.name, {})[entry.arm] = entry
        return found


def titled(axis: str, value: Value) -> str:
    """Return the value of an axis as a reader sees it."""
    if axis == "labels" and not value:
        return "labels untouched"
    if axis == "bands":
        return shortly(str(value))
    return UNITS[axis].format(value) if axis in UNITS and not isinstance(value, str) else str(value)


def gather(
    plans: Sequence[Plan],
    out: Path,
    frames: Mapping[str, DataFrame] | None = None,
    lines: Mapping[str, Sequence[Line]] | None = None,
) -> Study:
    """Return what the records of a suite's plans hold, each read once.

    Args:
        plans: of one suite and data set, in its order.
        out: where records and splits are.
        frames: leaderboards by name of the plan, for who is suspect; None: that is found again (see `gate`).
        lines: by name of the plan, where the caller has them already.

    Raises:
        UserError: a split is gone.
    """
    known = by_plan(plans, out) if lines is None else lines
    groups: dict[tuple[tuple[str, Value], ...], list[Plan]] = {}
    for plan in plans:
        groups.setdefault(tuple((axis, value) for axis, value in plan.arm.items() if axis != SUBSET), []).append(plan)
    arms = tuple(_arm(dict(values), members, out) for values, members in groups.items())
    entries = tuple(
        entry for place, members in enumerate(groups.values()) for entry in _entries(place, members, known, frames)
    )
    return Study(study_name(plans[0]), arms, entries)


def _arm(values: dict[str, Value], members: Sequence[Plan], out: Path) -> Arm:
    sizes = []
    for path in dict.fromkeys(plan.inside(out).split for plan in members):  # guarded and checked when cells were run
        if not path.exists():
            raise UserError(f"{path}, the split of {members[0].name}, is gone; the command that ran it writes it again")
        split = splits.load(path)
        train = split.parts["train"]
        sizes.append((len(train), len({split.scenes[patch] for patch in train})))
    patches, scenes = np.mean(sizes, axis=0).tolist()
    return Arm(values, patches, scenes)


def _entries(
    arm: int,
    members: Sequence[Plan],
    lines: Mapping[str, Sequence[Line]],
    frames: Mapping[str, DataFrame] | None,
) -> list[Entry]:
    """Return the lines of an arm; of subsets that have the very same cells, as the whole train part, the first."""
    found: dict[tuple[str, bool], dict[tuple[str, ...], tuple[int, Line]]] = {}
    doubts: dict[tuple[str, bool], str] = {}
    for place, plan in enumerate(members):
        made = lines[plan.name]
        for name, reason in _doubts(plan, made, frames).items():
            doubts.setdefault(name, reason)
        for line in made:
            runs = tuple(cell.key for cell in line.cells)
            subset = int(plan.arm.get(SUBSET, place))
            found.setdefault((line.first.row, line.first.tuned), {}).setdefault(runs, (subset, line))
    return [Entry(arm, tuple(subsets.values()), doubts.get(name, "")) for name, subsets in found.items()]


def _doubts(plan: Plan, made: Sequence[Line], frames: Mapping[str, DataFrame] | None) -> dict[tuple[str, bool], str]:
    """Return why lines of a plan are suspect."""
    if frames is None:
        return {name: "; ".join(reasons) for name, reasons in suspects(made).items()}
    told = frames[plan.name][["row", "tuned", SUSPECT]].itertuples(index=False)
    return {(row, bool(tuned)): why for row, tuned, why in told if why}


def study(found: Study) -> DataFrame:
    """Return every line in every arm: the axes, then COLUMNS.

    `n` is the number of runs. `train_patches` and `train_scenes` are those with labels, the mean over subsets. A line
    has a score where every run of the arm ended well, and an interval from two scenes on.
    """
    import pandas as pd

    rows = [{**found.arms[entry.arm].values, **_values(entry, found.arms[entry.arm])} for entry in found.entries]
    return pd.DataFrame(rows, columns=[*found.axes, *COLUMNS])


def _values(entry: Entry, arm: Arm) -> dict[str, Any]:
    from benchmark.studies._draws import interval

    status, reason = entry.ending
    told = {"row": entry.cell.row, "family": entry.cell.family, "tuned": entry.cell.tuned, "suspect": entry.suspect}
    sizes = {"train_patches": arm.patches, "train_scenes": arm.scenes, "subsets": len(entry.lines)}
    runs = {"status": status, "reason": reason, "n": sum(len(line.cells) for _, line in entry.lines)}
    known = {"seeds": len(entry.lines[0][1].cells), "scenes": 0, **dict.fromkeys(COLUMNS[8:11], math.nan)}
    if entry.drawn is not None:
        own = interval(entry.drawn)
        known |= {"jaccard": own.mean, "jaccard_low": own.low, "jaccard_high": own.high, "scenes": own.scenes}
    return {**told, **sizes, **runs, **known}


def without_score(found: Study) -> list[str]:
    """Return a sentence for each line and end that has no score, with the arms where it has none."""
    ends: dict[tuple[str, str, str], list[str]] = {}
    for entry in found.entries:
        if entry.stack is None:
            status, reason = entry.ending
            why = reason if status != OK else "its runs tested on other patches, or on none with truth"
            ends.setdefault((entry.title, status, why), []).append(found.arms[entry.arm].title)
    every = len(found.arms)
    return [
        f"**{name}**: {status}: {reason} ("
        + ("every arm)" if len(arms) == every else f"{len(arms)} of {every} arms, first {arms[0]})")
        for (name, status, reason), arms in ends.items()
    ]


def doubted(found: Study) -> list[str]:
    """Return a sentence for each line that is suspect, with the first arm where it is and why."""
    first: dict[str, list[Entry]] = {}
    for entry in found.entries:
        if entry.suspect and entry.stack is not None:
            first.setdefault(entry.title, []).append(entry)
    return [
        f"**{name}**: suspect in {len(each)} of {len(found.arms)} arms, first in '{found.arms[each[0].arm].title}': "
        f"{each[0].suspect}"
        for name, each in first.items()
    ]


def readable(found: Study, table: DataFrame) -> list[dict[str, str]]:
    """Return an entry a line with its score and interval in each arm; `?` marks what is suspect."""
    shown: dict[str, dict[str, str]] = {}
    for entry, values in zip(found.entries, table.to_dict("records"), strict=True):
        one = shown.setdefault(entry.title, {"row": entry.title, **{arm.title: "" for arm in found.arms}})
        one[found.arms[entry.arm].title] = _score(values) + " ?" * bool(entry.suspect and entry.stack is not None)
    return list(shown.values())


def _score(values: Mapping[str, Any]) -> str:
    mean, low, high = (values[name] for name in ("jaccard", "jaccard_low", "jaccard_high"))
    if math.isnan(mean):
        return str(values["status"])
    return f"{mean:.3f}" + ("" if math.isnan(low) else f" [{low:.3f}, {high:.3f}]")


def write_study(found: Study, table: DataFrame, folder: Path, sections: Sequence[str] = ()) -> tuple[Path, Path]:
    """Write study.csv and study.md; return both.

    Args:
        found: of `gather`.
        table: of `study`.
        folder: to write into.
        sections: lines of Markdown above the table: what the study shows, and its pictures.
    """
    csv, page = write_csv(table, folder / "study.csv"), folder / "study.md"
    text = [f"# {found.name}", "", *sections, "## Every row in every arm", "", TOLD, ""]
    text += markdown(readable(found, table))
    for title, items in (("Suspect (marked ?)", doubted(found)), ("Without a score", without_score(found))):
        text += ["", f"{title}:", "", *(f"- {item}" for item in items)] if items else []
    with replacing(page) as temporary:
        temporary.write_text("\n".join(text) + "\n")
    return csv, page
