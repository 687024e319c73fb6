"""How many runs a suite is, and how long they may take here, from the records of earlier ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from statistics import median

from benchmark import catalog, record, splits
from benchmark.api import Row, UserError
from benchmark.asked import Asked, profile, profile_name
from benchmark.profiles import Profile
from benchmark.studies import arms
from benchmark.studies.suites import Suite

NEWEST = 10  # records of a row that are looked at
ASSUMED = (
    "Runs: rows and their controls x arms x seeds, and tuned ones; arms that the data make equal are run once; + where "
    "the number of arms hangs on the data, a word for all values being counted as two. Hours: one run at a time, with "
    "the profile that `run` takes here, by the median seconds of a row's last records for a train pixel and, of "
    "networks, an epoch; every arm as if it had all train patches, every trial as long as a run; ? where there is none."
)


@dataclass(frozen=True)
class Cost:
    """Number of runs and hours, as text; "?" where nothing was recorded."""

    runs: str
    hours: str


def cost(suite: Suite, out: Path) -> Cost:
    """Return what a suite costs with the profile that it would run with here.

    Args:
        suite: as read.
        out: root of the records.
    """
    name = profile_name(Asked(), suite)
    suite = suite.with_profile(name)
    numbers, rows = profile(Asked(), name, suite), catalog.with_controls(suite.chosen())[0]
    vary = arms.stated(suite.vary)
    number = prod(sum(2 if arms.is_word(value) else 1 for value in values) for values in vary.values())
    runs = number * sum(numbers.seeds * (1 + _tunes(row, numbers)) for row in rows)
    more = any(arms.is_word(value) for values in vary.values() for value in values)
    hours = _hours(rows, numbers, suite, number, out)
    return Cost(f"{runs}{'+' * more}", "?" if hours is None else f"{hours:.1f}{'+' * more}")


def _tunes(row: Row, numbers: Profile) -> bool:
    return row.space is not None and numbers.trials > 1


def _hours(rows: list[Row], numbers: Profile, suite: Suite, number: int, out: Path) -> float | None:
    """Return the hours of all arms, None where a row has no record."""
    total = 0.0
    for row in rows:
        rate = _rate(row, out)
        if rate is None:
            return None
        values = suite.vary.get("epochs", [suite.epochs.get(row.name, numbers.budget.epochs * row.epochs)])
        epochs = sum(values) / len(values) if _learns(row) else 1
        fits = 1 + numbers.trials * _tunes(row, numbers)
        total += number * numbers.seeds * fits * rate * epochs * numbers.patches["train"] * numbers.size**2
    return total / 3600


def _learns(row: Row) -> bool:
    """Whether a row takes epochs."""
    return "torch" in row.needs


def _rate(row: Row, out: Path) -> float | None:
    """Return the median seconds of a row for a train pixel and, where it takes epochs, an epoch."""
    files = sorted(out.glob(f"runs/*/{row.name}/default-*/{record.FILE}"), key=lambda file: -file.stat().st_mtime)
    rates = list(_rates(files[:NEWEST], _learns(row), out))
    return median(rates) if rates else None


def _rates(files: list[Path], learns: bool, out: Path) -> Iterator[float]:
    for file in files:
        done = record.read(file.parent)
        patches = _train_patches(splits.pinned(out, done.cell["split"])) if done else 0
        if done and done.status == record.OK and patches:
            pixels = patches * done.pixels / len(done.patches)
            yield done.seconds / pixels / (done.cell["budget"]["epochs"] if learns else 1)


@cache
def _train_patches(split: Path) -> int:
    """Return the train patches of a split file, 0 where it is gone."""
    try:
        return len(splits.load(split).parts["train"])
    except UserError:
        return 0
