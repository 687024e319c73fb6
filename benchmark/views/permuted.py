"""What rows know without labels: their runs on permuted labels (`run ROW --labels permuted`), held against chance.

A row that learns from labels alone must be at chance there; what is above comes by a leak. Thresholds are told and not
judged: from the literature they know on which side cloud lies, or have nothing but a side to choose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmark import record
from benchmark.label_noise import PERMUTED
from benchmark.plan import Cell
from benchmark.record import PROBABILITIES
from benchmark.scores import scores
from benchmark.stats import Estimate, interval, resample
from benchmark.views.lines import Line, tally

FLOOR, THRESHOLD = "floor", "threshold"  # families
# Kuiper skill that an honest row may seem to have on permuted labels. Above all, one draw of labels may make any rule
# look skilled: of 24 honest fits with one seed each, the highest lower end was 0.14, and of six seeds together 0.
CHANCE, CHANCE_OF_FEW, FEW = 0.05, 0.25, 3
UNRESOLVED, SUSPECT, UNKNOWN = "not resolved from chance", "above chance: suspect", "not known: it takes two scenes"
KNOWS, LEARNS_NOTHING = "knows clouds without labels", "learns nothing from labels"


@dataclass(frozen=True)
class Blind:
    """A line that was trained on permuted labels: its Kuiper skill, what chance may give, and what that means."""

    skill: Estimate
    chance: float
    verdict: str


def twin(cell: Cell) -> Cell:
    """Return the same cell with the labels of its training part permuted."""
    return replace(cell, labels=PERMUTED)


def of(cells: Sequence[Cell], out: Path) -> Blind | None:
    """Return what the cells of a line, one a seed, come to on permuted labels; None where they did not all run."""
    twins = tuple(twin(cell) for cell in cells)
    if not (twins[0].folder(out) / record.FILE).exists():  # hardly any line has some
        return None
    treated = Line(twins, tuple(record.read(cell.folder(out)) for cell in twins), out)
    if not treated.ok:
        return None
    skill = _kuiper(treated)
    chance = CHANCE if skill.seeds >= FEW else CHANCE_OF_FEW
    return Blind(skill, chance, _verdict(cells[0], out, skill, chance))


def _verdict(cell: Cell, out: Path, skill: Estimate, chance: float) -> str:
    if _untaught(cell, out):
        return LEARNS_NOTHING
    if np.isnan(skill.low):
        return UNKNOWN
    if skill.low <= chance:
        return UNRESOLVED
    return KNOWS if cell.family in (FLOOR, THRESHOLD) else SUSPECT


def _untaught(cell: Cell, out: Path) -> bool:
    """Whether a cell predicts the same to the bit with its labels and with permuted ones."""
    paths = [one.folder(out) / PROBABILITIES for one in (replace(cell, labels=""), twin(cell))]
    return all(path.exists() for path in paths) and np.array_equal(*(np.load(path, mmap_mode="r") for path in paths))


def _kuiper(line: Line) -> Estimate:
    """Return the Kuiper skill of a line with its interval over scenes and seeds; NaN where there is none."""
    found = tally(line, [kept.counts for kept in line.ok])
    if found is None or not found.scenes:
        return Estimate()
    return interval(resample(found.counts, lambda drawn: scores(drawn)["kuiper"]), (-1, 1))
